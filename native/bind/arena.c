// Functions about the arena and this process's place in it.
#include "bind.h"

#include "../memory/layout_stamp.h"

#include <errno.h>
#include <stdlib.h>

int phx_ensure_arena(void) {
    if (__builtin_expect(phx_arena_is_open(), 1)) {
        return 0;
    }
    phx_status status = phx_arena_open();
    if (status != PHX_OK) {
        phx_raise(status);
        return -1;
    }
    return 0;
}

static PyObject *arena_open(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    if (phx_ensure_arena() != 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *arena_is_open(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyBool_FromLong(phx_arena_is_open());
}

static PyObject *arena_fd(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    if (phx_ensure_arena() != 0) {
        return NULL;
    }
    int fd = phx_arena_fd();
    if (fd < 0) {
        errno = EBADF;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyLong_FromLong(fd);
}

static PyObject *arena_id(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return phx_ensure_arena() != 0 ? NULL : PyLong_FromUnsignedLongLong(phx_arena_id());
}

static PyObject *arena_attach(PyObject *module, PyObject *args) {
    (void)module;
    int fd;
    unsigned int slot;
    if (!PyArg_ParseTuple(args, "iI:arena_attach", &fd, &slot)) {
        return NULL;
    }
    if (phx_arena_is_open()) {
        PyErr_SetString(PyExc_RuntimeError, "this process is in an arena already");
        return NULL;
    }
    phx_status status = phx_arena_attach(fd, slot);
    if (status != PHX_OK) {
        return phx_raise(status);
    }
    Py_RETURN_NONE;
}

static PyObject *arena_stats(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    phx_arena_figures figures = {0};
    if (phx_arena_is_open()) {
        phx_arena_stats(&figures);
    }
    return Py_BuildValue("{sKsKsKsKsKsK}", "blocks", figures.blocks, "leases", figures.leases, "slots", figures.slots,
                         "committed_bytes", figures.committed_bytes, "limit_bytes", figures.limit_bytes, "mapped_bytes",
                         figures.mapped_bytes);
}

static PyObject *arena_sweep(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromUnsignedLong(phx_arena_is_open() ? phx_arena_sweep() : 0);
}

// -- slots -----------------------------------------------------------------------------------------------------------

static PyObject *slot_reserve(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    phx_slot_word slot;
    if (phx_ensure_arena() != 0) {
        return NULL;
    }
    phx_status status = phx_slot_reserve(&slot);
    if (status != PHX_OK) {
        errno = EAGAIN;  // the table of processes is full
        return PyErr_SetFromErrno(PyExc_BlockingIOError);
    }
    return PyLong_FromUnsignedLong(slot);
}

static PyObject *slot_of_last_fork(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromUnsignedLong(phx_slot_of_last_fork());
}

static PyObject *slot_self(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromUnsignedLong(phx_self());
}

// A slot from Python; (phx_slot_word)-1 with an exception.
static phx_slot_word slot_argument(PyObject *argument) {
    unsigned long slot = PyLong_AsUnsignedLong(argument);
    if (slot == (unsigned long)-1 && PyErr_Occurred()) {
        return (phx_slot_word)-1;
    }
    if (slot >= 1ul << 31) {
        PyErr_SetString(PyExc_ValueError, "slot is out of range");
        return (phx_slot_word)-1;
    }
    return (phx_slot_word)slot;
}

static PyObject *slot_set_pid(PyObject *module, PyObject *args) {
    (void)module;
    unsigned int slot;
    int pid;
    if (!PyArg_ParseTuple(args, "Ii:slot_set_pid", &slot, &pid)) {
        return NULL;
    }
    if (phx_arena_is_open() && slot != 0) {
        phx_slot_set_pid(slot, pid);
    }
    Py_RETURN_NONE;
}

static PyObject *slot_end(PyObject *module, PyObject *argument) {
    (void)module;
    phx_slot_word slot = slot_argument(argument);
    if (slot == (phx_slot_word)-1) {
        return NULL;
    }
    phx_slot_end(slot);
    Py_RETURN_NONE;
}

static PyObject *slot_is_alive(PyObject *module, PyObject *argument) {
    (void)module;
    phx_slot_word slot = slot_argument(argument);
    if (slot == (phx_slot_word)-1) {
        return NULL;
    }
    return PyBool_FromLong(phx_arena_is_open() && slot != 0 && phx_slot_is_alive(slot));
}

static PyObject *slot_adopt(PyObject *module, PyObject *argument) {
    (void)module;
    phx_slot_word slot = slot_argument(argument);
    if (slot == (phx_slot_word)-1) {
        return NULL;
    }
    phx_status status = phx_arena_is_open() ? phx_slot_adopt(slot) : PHX_STALE;
    if (status != PHX_OK) {
        return phx_raise(status);
    }
    Py_RETURN_NONE;
}

static PyObject *watch_process(PyObject *module, PyObject *args) {
    (void)module;
    int pid, starter = 0;
    if (!PyArg_ParseTuple(args, "i|i:watch_process", &pid, &starter)) {
        return NULL;
    }
    errno = phx_watch_process(pid, phx_process_start_time(pid), starter);
    if (errno != 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

// -- handing over ----------------------------------------------------------------------------------------------------

static PyObject *granting_begin(PyObject *module, PyObject *argument) {
    (void)module;
    phx_slot_word slot = slot_argument(argument);
    if (slot == (phx_slot_word)-1) {
        return NULL;
    }
    phx_granting *granting = malloc(sizeof *granting);
    if (granting == NULL) {
        return PyErr_NoMemory();
    }
    phx_granting_push(granting, slot);
    Py_RETURN_NONE;
}

static PyObject *granting_end(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    phx_granting *granting = phx_granting_innermost();
    if (granting == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "granting_end without granting_begin");
        return NULL;
    }
    phx_granting_pop(granting);
    free(granting->handles);
    free(granting);
    Py_RETURN_NONE;
}

static PyObject *is_granting(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyBool_FromLong(phx_is_granting());
}

static PyMethodDef functions[] = {
    {"arena_open", arena_open, METH_NOARGS, "arena_open()\n--\n\n"},
    {"arena_is_open", arena_is_open, METH_NOARGS, "arena_is_open()\n--\n\n"},
    {"arena_fd", arena_fd, METH_NOARGS, "arena_fd()\n--\n\n"},
    {"arena_id", arena_id, METH_NOARGS, "arena_id()\n--\n\n"},
    {"arena_attach", arena_attach, METH_VARARGS, "arena_attach(fd, slot)\n--\n\n"},
    {"arena_stats", arena_stats, METH_NOARGS, "arena_stats()\n--\n\n"},
    {"arena_sweep", arena_sweep, METH_NOARGS, "arena_sweep()\n--\n\n"},
    {"slot_reserve", slot_reserve, METH_NOARGS, "slot_reserve()\n--\n\n"},
    {"slot_of_last_fork", slot_of_last_fork, METH_NOARGS, "slot_of_last_fork()\n--\n\n"},
    {"slot_self", slot_self, METH_NOARGS, "slot_self()\n--\n\n"},
    {"slot_set_pid", slot_set_pid, METH_VARARGS, "slot_set_pid(slot, pid)\n--\n\n"},
    {"slot_end", slot_end, METH_O, "slot_end(slot)\n--\n\n"},
    {"slot_is_alive", slot_is_alive, METH_O, "slot_is_alive(slot)\n--\n\n"},
    {"slot_adopt", slot_adopt, METH_O, "slot_adopt(slot)\n--\n\n"},
    {"watch_process", watch_process, METH_VARARGS, "watch_process(pid, starter=0, /)\n--\n\n"},
    {"granting_begin", granting_begin, METH_O, "granting_begin(slot)\n--\n\n"},
    {"granting_end", granting_end, METH_NOARGS, "granting_end()\n--\n\n"},
    {"is_granting", is_granting, METH_NOARGS, "is_granting()\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

int phx_bind_arena(PyObject *module) {
    if (PyModule_AddIntConstant(module, "LAYOUT", PHX_LAYOUT_VERSION) != 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
