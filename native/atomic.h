// The only place that names memory orders' primitives, so that a model checker can replace them.
//
// Everything here works on plain integers in memory that several processes map. All are lock-free on the targets.
#ifndef PHX_ATOMIC_H
#define PHX_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

_Static_assert(__atomic_always_lock_free(4, 0) && __atomic_always_lock_free(8, 0),
               "needs lock-free 4 and 8 byte words");

#define PHX_DEFINE_ATOMICS(suffix, type)                                                                               \
    static inline type phx_load_relaxed##suffix(const type *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }  \
    static inline type phx_load##suffix(const type *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }          \
    static inline void phx_store_relaxed##suffix(type *word, type value) {                                             \
        __atomic_store_n(word, value, __ATOMIC_RELAXED);                                                               \
    }                                                                                                                  \
    static inline void phx_store##suffix(type *word, type value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }  \
    static inline type phx_exchange##suffix(type *word, type value) {                                                  \
        return __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST);                                                     \
    }                                                                                                                  \
    static inline type phx_add##suffix(type *word, type value) {                                                       \
        return __atomic_fetch_add(word, value, __ATOMIC_SEQ_CST);                                                      \
    }                                                                                                                  \
    static inline type phx_or##suffix(type *word, type value) {                                                        \
        return __atomic_fetch_or(word, value, __ATOMIC_SEQ_CST);                                                       \
    }                                                                                                                  \
    static inline type phx_and##suffix(type *word, type value) {                                                       \
        return __atomic_fetch_and(word, value, __ATOMIC_SEQ_CST);                                                      \
    }                                                                                                                  \
    /* on failure *expected becomes what was seen */                                                                   \
    static inline bool phx_swap_if##suffix(type *word, type *expected, type desired) {                                 \
        return __atomic_compare_exchange_n(word, expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);        \
    }

PHX_DEFINE_ATOMICS(32, uint32_t)
PHX_DEFINE_ATOMICS(64, uint64_t)

static inline void phx_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

#endif
