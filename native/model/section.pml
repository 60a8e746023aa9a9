/* The section lock of native/sync/section.c: processes that may die at any step.
 *
 * Holds: nobody is inside with another; what a dead owner left broken is never seen unrepaired; without a death no sleeper
 * is forgotten (a slice of sleep ends by itself only after one), and with deaths every living process comes through.
 *
 * FAULT=1: the lock is taken after a sleep without the sleepers' bit. FAULT=2: it is taken from a dead owner by a plain
 * store. Each must be found.
 */
#ifndef FAULT
#define FAULT 0
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
#define PROCESSES 3
#define ROUNDS 2

byte owner;   /* the word: slot of the owner, 0 free ... */
bit sleepers; /* ... and whether somebody may sleep */

bool sleeping[PROCESSES + 1];
bool dead[PROCESSES + 1];
byte deaths;
bool broken;  /* what the lock guards */
byte inside;  /* living processes that hold it */

#define MAY_DIE                                                                                                        \
    if                                                                                                                 \
    :: skip                                                                                                            \
    :: atomic { deaths < DEATHS -> deaths++; dead[me] = true; sleeping[me] = false; goto gone }                        \
    fi

/* Dies holding the lock: it no longer counts as inside. */
#define MAY_DIE_INSIDE                                                                                                 \
    if                                                                                                                 \
    :: skip                                                                                                            \
    :: atomic { deaths < DEATHS -> deaths++; dead[me] = true; inside--; goto gone }                                    \
    fi

inline wake_one() {
    if
    :: atomic { sleeping[1] -> sleeping[1] = false }
    :: atomic { sleeping[2] -> sleeping[2] = false }
    :: atomic { sleeping[3] -> sleeping[3] = false }
    :: else -> skip
    fi
}

proctype process(byte me) {
    byte seen, round;
    bit seen_sleepers;
    bool inherited;
again:
    if
    :: round == ROUNDS -> goto done
    :: else -> round++
    fi;
    inherited = false;
    MAY_DIE;
    if
    :: atomic { owner == 0 -> owner = me; sleepers = 0; inside++; goto entered }
    :: else -> skip
    fi;
slow:
    MAY_DIE;
    if
    :: atomic {
           owner == 0 -> owner = me;
#if FAULT == 1
           sleepers = 0;
#else
           sleepers = 1;
#endif
           inside++;
           goto entered
       }
    :: atomic { owner != 0 -> seen = owner; seen_sleepers = sleepers }
    fi;
    MAY_DIE;
    if
    :: seen_sleepers == 0 ->
        atomic {
            if
            :: owner == seen && sleepers == 0 -> sleepers = 1
            :: else -> goto slow
            fi
        }
    :: else -> skip
    fi;
    MAY_DIE;
    atomic { /* the kernel compares and puts to sleep in one step */
        if
        :: owner == seen && sleepers == 1 -> sleeping[me] = true
        :: else -> goto slow
        fi
    };
    MAY_DIE;
    if
    :: atomic { !sleeping[me] -> goto slow }
    :: atomic { deaths > 0 -> sleeping[me] = false } /* the slice is over */
    fi;
    MAY_DIE;
    if
    :: dead[seen] ->
#if FAULT == 2
        owner = me; /* without looking who has it */
        atomic { inside++; inherited = true; goto entered }
#else
        atomic {
            if
            :: owner == seen && sleepers == 1 -> owner = me; inside++; inherited = true; goto entered
            :: else -> goto slow
            fi
        }
#endif
    :: else -> goto slow
    fi;
entered:
    assert(inside == 1);
    if
    :: inherited -> MAY_DIE_INSIDE; broken = false
    :: else -> assert(!broken)
    fi;
    broken = true;
    MAY_DIE_INSIDE;
    assert(inside == 1);
    broken = false;
    atomic { inside--; owner = 0; seen_sleepers = sleepers; sleepers = 0 };
    MAY_DIE;
    if
    :: seen_sleepers == 1 -> wake_one()
    :: else -> skip
    fi;
    goto again;
done:
    skip;
gone:
    skip
}

init {
    atomic { run process(1); run process(2); run process(3) }
}
