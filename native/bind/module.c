// The extension module phalanx._native: one line for each file of this folder.
#include "bind.h"

#include "message.h"

#include "../kill_point.h"

#include <limits.h>

static PyObject *set_kill_point(PyObject *module, PyObject *name) {
    (void)module;
    const char *text = name == Py_None ? NULL : PyUnicode_AsUTF8AndSize(name, NULL);
    if (name != Py_None && text == NULL) {
        return NULL;
    }
    phx_kill_points_set(text);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"set_kill_point", set_kill_point, METH_O,
     "set_kill_point(name: str | None)\n--\n\nEnd this process with SIGKILL at a named step: 'name' or 'name:N'."},
    {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module) {
    phx_kill_points_read_environment();
    static int (*const parts[])(PyObject *) = {
        phx_bind_arena,     phx_bind_block,     phx_bind_message, phx_bind_frame,   phx_bind_lock,
        phx_bind_semaphore, phx_bind_condition, phx_bind_event,   phx_bind_barrier, phx_bind_cell,
        phx_bind_channel,   phx_bind_watch,     phx_bind_row,     phx_bind_pipe,
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i](module) != 0) {
            return -1;
        }
    }
    return PyModule_AddIntConstant(module, "SEM_VALUE_MAX", INT_MAX);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)execute},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "phalanx._native", .m_doc = "The C core of phalanx.", .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
