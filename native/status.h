// What operations of the core return. Only bind/ turns these into exceptions.
#ifndef PHX_STATUS_H
#define PHX_STATUS_H

typedef enum {
    PHX_OK = 0,
    PHX_TIMED_OUT,    // the deadline passed (or, with a deadline of 0: it would have to wait)
    PHX_INTERRUPTED,  // a signal handler ran: run the language's handlers and call again
    PHX_OWNER_DIED,   // the holder of a lock is dead; what the lock guards may be half-written
    PHX_NOT_OWNER,    // release by somebody who does not hold it
    PHX_OVERFLOW,     // released too many times, too large a value
    PHX_NO_MEMORY,    // a limit of the arena or the machine; phx_arena_limits tells the figures
    PHX_BROKEN,       // a barrier is broken
    PHX_STALE,        // a handle whose object is gone, or of another tree
    PHX_LAYOUT,       // not an arena, or one of another layout
    PHX_SYSTEM,       // errno says it
} phx_status;

#endif
