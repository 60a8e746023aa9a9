"""Every limit of phalanx that has a number: its name, its unit, and why it is so."""

FRAME_JOIN_MAX_BYTES = 16 * 1024
"""A frame up to this size is copied behind its header and written as one buffer; above, two buffers are cheaper."""

READ_MAX_BYTES = 1024 * 1024
"""Memory asked for at once while a frame is read: a length that nobody backs with data costs no more than this."""

HANDSHAKE_TIMEOUT_S = 20.0
"""How long a client may take to prove that it has the key: one on a loaded machine needs seconds, a silent one ends."""

LISTEN_BACKLOG_MIN_COUNT = 1024
"""The least number of clients that may wait to be accepted; the kernel cuts it to its own limit (somaxconn)."""

POLL_MAX_S = 1_000_000
"""The longest single sleep in poll(2), which counts milliseconds in an int; longer waits sleep again."""

CGROUP_MOUNT = "/sys/fs/cgroup"
"""Where the control groups are mounted: the path that systemd and every container runtime use."""

INHERITED_FDS_MAX_COUNT = 250
"""File descriptors that one process may inherit through the fork server: the kernel passes 253 at once, 3 are ours."""

EXIT_STATUS_TIMEOUT_S = 1.0
"""How long to wait for a fork server's word on how a dead child ended; a stopped server says none."""

DAEMON_JOIN_TIMEOUT_S = 5.0
"""How long a program's end waits for a daemonic child that has got SIGTERM, before it sends SIGKILL."""

PICKLE_SEARCH_DEPTH_MAX_COUNT = 40
"""How deep the search for what cannot be pickled goes: deeper paths help no reader."""

PICKLE_SEARCH_OBJECT_MAX_COUNT = 2000
"""How many objects that search pickles for trial, so that an error in a huge structure is not slow to report."""

ACCEPT_RETRY_S = 0.1
"""Pause of a server that cannot accept (out of descriptors, say) before it tries again, so that it does not spin."""

POOL_BATCH_S = 0.002
"""Work that a batch of a pool should hold: long against the 20 us that it costs, short against what people notice."""

POOL_BATCH_FLOOR_S = 0.0002
"""The smallest batches at the end of a call, where they are cut small to spread the rest evenly."""

POOL_BATCH_MAX_COUNT = 65_536
"""Tasks in one batch, so that its record and its results stay small however short the tasks are."""

POOL_BATCH_GROWTH = 8
"""How much larger the next batches of a job may be than one that came back: a wrong guess costs one batch."""

POOL_AHEAD_COUNT = 3
"""Batches in flight for each worker: one runs, one waits in the channel, one is on its way."""

POOL_SINGLES_AHEAD_COUNT = 512
"""Single tasks (apply_async) in flight for the whole pool: so many need nobody who collects, the rest waits."""

POOL_ROWS_COUNT = 2048
"""Rows of a pool (64 bytes each): several times what is in flight; a cut batch keeps its row till its worker ends."""

POOL_OUTBOX_BYTES = 32 * 1024
"""Results that a worker has finished and not sent; a larger result travels alone."""

POOL_SLICE_S = 0.002
"""A worker sends what it has after this time, in the middle of a batch too."""

POOL_LOOK_S = 0.005
"""A task that runs longer than this counts as slow: what is stuck before and behind it in its batch is fetched."""

POOL_PATIENCE_S = 0.005
"""How long the helper thread leaves results to a caller that keeps coming back for them, before it collects itself."""

POOL_WINDOW_COUNT = 4096
"""Items of a lazily read iterable between the iterable and the consumer, unless `buffersize` says otherwise."""

POOL_START_PERIOD_S = 10.0
"""The time window in which failed starts of workers are counted."""

POOL_START_TRIES_COUNT = 3
"""Failed starts within that window, none that went well between, that fail a pool of one; one more for each worker."""

POOL_START_PAUSE_S = 0.05
"""The pause before a worker is started again that failed to start."""

POOL_GRACE_S = 1.0
"""From SIGTERM to SIGKILL, for workers that are ended by terminate() or because their task's time is over."""

POOL_HISTORY_COUNT = 200
"""Events that a pool remembers for the report of an impossible one."""

POOL_FUNCTION_INLINE_MAX_BYTES = 1024
"""A pickled function up to this size travels in each record; a larger one is put into the arena once."""

POOL_FUNCTION_CACHE_COUNT = 64
"""Functions that a worker keeps unpickled, and that a pool keeps pickled."""

OUT_OF_BAND_BYTES = 16_384
"""A buffer (numpy, Arrow...) of this size or more goes into the arena and is mapped by the receiver, not copied:
below it, two copies cost less than a lease and a first touch of other pages."""

SEGMENT_UNCHECKED_BYTES = 16 * 1024 * 1024
"""A named segment up to this size is reserved without asking how much memory is left: the question costs ten files."""

WATCHER_MESSAGE_MAX_BYTES = 512
"""POSIX: up to this size the writes of several processes into one pipe do not mix."""

WATCHER_READ_BYTES = 64 * 1024
"""What the watcher reads at once: all that a pipe holds."""

WATCHER_STOP_TIMEOUT_S = 5.0
"""How long a watcher that was let go of may take to end; it stays while another process holds its pipe."""

WATCHER_EXIT_TIMEOUT_S = 0.5
"""The same at a program's end, which must not be held up by a child that lives on."""

WATCHER_POLL_S = 0.005
"""How often its end is looked for then."""

CLIENT_CHECK_S = 0.2
"""How often a manager looks whether a client that waits for a lock still lives: five looks a second cost nothing."""

EXIT_NOTICE_TIMEOUT_S = 1.0
"""How long to wait for a process to count as ended whose connection has: some milliseconds, if it has died at all."""

UNREFERENCED_KEPT_S = 5.0
"""How long a manager keeps an object without proxies: one may be on its way to a process that is slow to start."""

UNREFERENCED_MAX_COUNT = 256
"""How many such objects a manager keeps at most; beyond that the oldest go at once."""

PICKLER_KEEP_MAX_BYTES = 64 * 1024
"""A pickler that has made a longer pickle is not used again: its table of objects has grown, and is wiped each time."""
