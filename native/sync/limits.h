// Times that several mechanisms of the core share, each with its reason.
#ifndef PHX_LIMITS_H
#define PHX_LIMITS_H

// The longest slice of sleep between two looks at whether the owner of a lock lives, or whether a wake-up was lost with
// the process that was to hand it on. Five looks a second cost no measurable CPU, and a waiter learns of a death in time.
#define PHX_OWNER_CHECK_NS ((int64_t)200000000)

#endif
