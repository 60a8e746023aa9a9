// The version of the layout of all shared structures. A process attaches only to its own version's arena.
#ifndef PHX_LAYOUT_STAMP_H
#define PHX_LAYOUT_STAMP_H

#define PHX_LAYOUT_VERSION 3u

#endif
