/* The channel of native/channel: producers and consumers that may die at any step, over the section lock (section.pml).
 *
 * Holds: each object comes once at most, in the order of its producer; what a living process has put is lost only in the hands
 * of a dead consumer; no segment is used after it was freed; who has taken a record finds it counted; and when all is over, the
 * counts are exact again.
 *
 * FAULT=1: published before it is written. FAULT=2: the tail moves before the count. FAULT=3: a segment is freed under
 * the tail. FAULT=4: a consumer does not count what its producer has not. FAULT=5: the head moves before the copy.
 * FAULT=6: the word behind a record is not cleared. FAULT=7: who repairs the tail counts a record that a consumer has just counted.
 * Each must be found.
 */
#ifndef FAULT
#define FAULT 0
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
#define PRODUCERS 2
#define EACH 2
#define CONSUMERS 2
#define PROCESSES 4
#define SLOTS 16
#define SEGMENT_SLOTS 2 /* one record, or two, and a link */
#define OBJECTS 4       /* numbered from 1, those of one producer after another */

#define NOTHING 0
#define RECORD 1
#define LINK 2
#define GARBAGE 3

#define segment_of(slot) ((slot) / SEGMENT_SLOTS)

byte word[SLOTS];   /* the first word: what is there; a fresh segment holds garbage */
byte object[SLOTS];
byte number[SLOTS];
byte next_of[SLOTS];
bool freed[SLOTS];  /* by segment */
byte segments = 1;

byte published, taken, head, tail;
byte retiring = 255;
bool recount;
byte producers_lock, consumers_lock;

bool dead[PROCESSES + 1];
byte deaths, lost, running;
byte got[OBJECTS + 1];
bool was_put[OBJECTS + 1]; /* its producer's put has returned */

#define MAY_DIE                                                                                                        \
    if                                                                                                                 \
    :: skip                                                                                                            \
    :: atomic { deaths < DEATHS -> deaths++; dead[me] = true; goto gone }                                              \
    fi

#define USE(slot) assert(!freed[segment_of(slot)])

inline lock(which, died) {
    if
    :: atomic { which == 0 -> which = me; died = false }
    :: atomic { which != 0 && dead[which] -> which = me; died = true }
    fi
}

inline repair_tail() {
    do
    :: USE(tail);
       if
       :: word[tail] == LINK -> tail = next_of[tail]
       :: word[tail] == RECORD ->
          mine = published;
          if
          :: number[tail] == mine ->
#if FAULT == 7
             published++
#else
             atomic {
                 if
                 :: published == mine -> published = mine + 1
                 :: else -> skip
                 fi
             }
#endif
          :: else -> skip
          fi;
          MAY_DIE;
          tail++
       :: else -> break
       fi;
       MAY_DIE
    od;
    recount = true
}

inline lock_producers() {
    lock(producers_lock, died);
    if
    :: died -> MAY_DIE; repair_tail(); died = false
    :: else -> skip
    fi;
    MAY_DIE
}

inline retire() {
#if FAULT != 3
    if
    :: segment_of(tail) == retiring -> lock_producers(); producers_lock = 0
    :: else -> skip
    fi;
    MAY_DIE;
#endif
    freed[retiring] = true;
    MAY_DIE;
    retiring = 255
}

inline repair_head() {
    if
    :: retiring != 255 && segment_of(head) != retiring -> retire()
    :: else -> retiring = 255
    fi;
    lock_producers();
    at = head;
    count = 0;
    do
    :: USE(at);
       if
       :: word[at] == LINK -> at = next_of[at]
       :: word[at] == RECORD -> at++; count++
       :: else -> break
       fi
    od;
    taken = published - count;
    MAY_DIE;
    recount = false;
    producers_lock = 0
}

proctype producer(byte me) {
    byte fresh, mine, round;
    bool died;
again:
    if
    :: round == EACH -> goto gone
    :: else -> skip
    fi;
    lock_producers();
    USE(tail);
    if
    :: tail % SEGMENT_SLOTS == SEGMENT_SLOTS - 1 ->
       fresh = segments * SEGMENT_SLOTS;
       assert(fresh + SEGMENT_SLOTS <= SLOTS);
       segments++;
       word[fresh] = NOTHING;
       MAY_DIE;
       next_of[tail] = fresh;
       word[tail] = LINK;
       MAY_DIE;
       tail = fresh;
       MAY_DIE
    :: else -> skip
    fi;
    USE(tail);
    mine = published;
#if FAULT == 1
    word[tail] = RECORD;
    MAY_DIE;
#endif
    number[tail] = mine;
    object[tail] = (me - 1) * EACH + round + 1;
#if FAULT != 6
    word[tail + 1] = NOTHING;
#endif
    MAY_DIE;
    word[tail] = RECORD;
    MAY_DIE;
#if FAULT == 2
    tail++;
    MAY_DIE;
    published = mine + 1;
    MAY_DIE;
#else
    published = mine + 1;
    MAY_DIE;
    tail++;
    MAY_DIE;
#endif
    producers_lock = 0;
    round++;
    was_put[(me - 1) * EACH + round] = true;
    MAY_DIE;
    goto again;
gone:
    running--
}

proctype consumer(byte me) {
    byte it, at, count, w, mine;
    bool died;
again:
    lock(consumers_lock, died);
    if
    :: died || recount -> MAY_DIE; repair_head(); died = false
    :: else -> skip
    fi;
    MAY_DIE;
    do
    :: USE(head);
       w = word[head];
       if
       :: w == LINK ->
          at = segment_of(head);
          retiring = at;
          MAY_DIE;
          head = next_of[head];
          MAY_DIE;
          retire()
       :: else -> break
       fi
    od;
    assert(w != GARBAGE);
    if
    :: w == RECORD ->
       assert(number[head] == taken);
#if FAULT == 5
       at = head;
       head++;
       MAY_DIE;
       it = object[at];
#else
       it = object[head];
#endif
       MAY_DIE;
#if FAULT != 4
       if
       :: atomic { published == taken -> published = taken + 1 }
       :: published != taken -> skip
       fi;
       MAY_DIE;
#endif
#if FAULT != 5
       head++;
#endif
       if
       :: skip
       :: atomic { deaths < DEATHS -> deaths++; dead[me] = true; lost++; goto gone }
       fi;
       taken++;
       assert(published >= taken); /* or task_done would be refused */
       atomic { assert(it != 0); got[it]++; assert(got[it] == 1) };
       consumers_lock = 0;
       MAY_DIE;
       goto again
    :: w == NOTHING -> consumers_lock = 0
    fi;
    if
    :: atomic { running > CONSUMERS -> goto again } /* producers are at work */
    :: running <= CONSUMERS -> goto gone
    fi;
gone:
    running--
}

/* When all have ended: somebody looks after the dead, and everything is accounted for. */
proctype last(byte me) {
    byte at, count, i, mine;
    bool died;
    running == 0;
    lock(consumers_lock, died);
    repair_head();
    consumers_lock = 0;
    at = head;
    do
    :: USE(at);
       if
       :: word[at] == LINK -> at = next_of[at]
       :: word[at] == RECORD -> got[object[at]]++; at++
       :: else -> break
       fi
    od;
    assert(at == tail);
    count = 0;
    for (i : 1 .. OBJECTS) {
        assert(got[i] <= 1);
        if
        :: was_put[i] && got[i] == 0 -> count++
        :: else -> skip
        fi
    }
    assert(count <= lost);
gone:
    skip
}

init {
    byte i;
    atomic {
        for (i : 1 .. SLOTS - 1) {
            word[i] = GARBAGE
        }
        running = PRODUCERS + CONSUMERS;
        run producer(1);
        run producer(2);
        run consumer(3);
        run consumer(4);
        run last(0)
    }
}
