"""What the command `phalanx` is made of.

usage     a wrong command line, and the exit statuses
target    the function that was named, found and loaded
inputs    what it is called with, read on demand
failure   an exception in words
work      what a worker does with one input, and the line of output it makes of it
report    the lines of output, the progress bar, the summary
map       `phalanx map`: its options, and its one loop
"""
