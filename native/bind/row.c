// Rows: the rows and outboxes of one pool, and the loop that runs a batch. native/row/README.md has the protocol.
#include "bind.h"
#include "plain.h"

#include "../kill_point.h"
#include "../row/row.h"

#include <string.h>

#define SIGNALS_EVERY 64u  // tasks between two looks for signals: a C function runs no bytecode that would look

typedef struct {
    PyObject_HEAD
    Py_buffer view;  // of the block: it stays mapped as long as this object lives
    phx_row *rows;
    uint8_t *outboxes;
    uint32_t row_count, outbox_count;
    uint32_t outbox_bytes;  // of one outbox, its head included
} rows_object;

// -- geometry --------------------------------------------------------------------------------------------------------

static int check_geometry(Py_ssize_t rows, Py_ssize_t outboxes, Py_ssize_t outbox_bytes) {
    if (rows < 1 || rows > UINT32_MAX / 64 || outboxes < 1 || outboxes > PHX_ROW_HOLDERS_MAX || outbox_bytes < 64 ||
        outbox_bytes > INT32_MAX || outbox_bytes % 64 != 0) {
        PyErr_SetString(PyExc_ValueError, "rows, outboxes and outbox_bytes (a multiple of 64) are out of range");
        return -1;
    }
    return 0;
}

static Py_ssize_t bytes_needed(Py_ssize_t rows, Py_ssize_t outboxes, Py_ssize_t outbox_bytes) {
    return rows * (Py_ssize_t)sizeof(phx_row) + outboxes * outbox_bytes;
}

static PyObject *size(PyObject *class, PyObject *args) {
    (void)class;
    Py_ssize_t rows, outboxes, outbox_bytes;
    if (!PyArg_ParseTuple(args, "nnn:size", &rows, &outboxes, &outbox_bytes) ||
        check_geometry(rows, outboxes, outbox_bytes) < 0) {
        return NULL;
    }
    return PyLong_FromSsize_t(bytes_needed(rows, outboxes, outbox_bytes));
}

static PyObject *new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"block", "rows", "outboxes", "outbox_bytes", NULL};
    PyObject *block;
    Py_ssize_t rows, outboxes, outbox_bytes;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Onnn:Rows", names, &block, &rows, &outboxes, &outbox_bytes) ||
        check_geometry(rows, outboxes, outbox_bytes) < 0) {
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    rows_object *self = (rows_object *)allocate(type, 0);
    if (self == NULL) {
        return NULL;
    }
    if (PyObject_GetBuffer(block, &self->view, PyBUF_WRITABLE) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    if (self->view.len < bytes_needed(rows, outboxes, outbox_bytes)) {
        Py_DECREF(self);
        PyErr_SetString(PyExc_ValueError, "the block is too small");
        return NULL;
    }
    self->rows = self->view.buf;
    self->outboxes = (uint8_t *)(self->rows + rows);
    self->row_count = (uint32_t)rows;
    self->outbox_count = (uint32_t)outboxes;
    self->outbox_bytes = (uint32_t)outbox_bytes;
    return (PyObject *)self;
}

static void dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    rows_object *self = (rows_object *)object;
    if (self->view.obj != NULL) {
        PyBuffer_Release(&self->view);
    }
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static phx_row *row_at(rows_object *self, unsigned long index) {
    if (index >= self->row_count) {
        PyErr_SetString(PyExc_IndexError, "no such row");
        return NULL;
    }
    return &self->rows[index];
}

static phx_outbox *outbox_at(rows_object *self, unsigned long index) {
    if (index >= self->outbox_count) {
        PyErr_SetString(PyExc_IndexError, "no such outbox");
        return NULL;
    }
    return (phx_outbox *)(void *)(self->outboxes + index * self->outbox_bytes);
}

// -- what the parent does --------------------------------------------------------------------------------------------

static PyObject *post(PyObject *object, PyObject *args) {
    unsigned long index;
    unsigned long long sequence;
    unsigned int count;
    if (!PyArg_ParseTuple(args, "kKI:post", &index, &sequence, &count)) {
        return NULL;
    }
    phx_row *row = row_at((rows_object *)object, index);
    if (row == NULL) {
        return NULL;
    }
    phx_row_post(row, sequence, count);
    Py_RETURN_NONE;
}

static PyObject *look(PyObject *object, PyObject *index) {
    unsigned long number = PyLong_AsUnsignedLong(index);
    if (number == (unsigned long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    phx_row *row = row_at((rows_object *)object, number);
    if (row == NULL) {
        return NULL;
    }
    phx_row_view view = phx_row_look(row);
    return Py_BuildValue("KiNIIK", (unsigned long long)view.sequence, (int)view.holder - 1,
                         PyBool_FromLong(view.released), view.position, view.end, (unsigned long long)view.started_ns);
}

static PyObject *cut(PyObject *object, PyObject *args) {
    unsigned long index;
    unsigned long long sequence;
    unsigned int keep;
    if (!PyArg_ParseTuple(args, "kKI:cut", &index, &sequence, &keep)) {
        return NULL;
    }
    phx_row *row = row_at((rows_object *)object, index);
    return row == NULL ? NULL : PyLong_FromUnsignedLong(phx_row_cut(row, sequence, keep));
}

static PyObject *peek(PyObject *object, PyObject *index) {
    rows_object *self = (rows_object *)object;
    unsigned long number = PyLong_AsUnsignedLong(index);
    if (number == (unsigned long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    phx_outbox *outbox = outbox_at(self, number);
    if (outbox == NULL) {
        return NULL;
    }
    size_t capacity = self->outbox_bytes - sizeof(phx_outbox);
    uint8_t *copy = PyMem_Malloc(capacity);
    if (copy == NULL) {
        return PyErr_NoMemory();
    }
    phx_outbox_view view;
    PyObject *result;
    if (phx_outbox_peek(outbox, &view, copy, capacity)) {
        result = Py_BuildValue("KIIy#", (unsigned long long)view.sequence, view.first, view.count, (char *)copy,
                               (Py_ssize_t)view.bytes);
    } else {
        result = Py_NewRef(Py_None);
    }
    PyMem_Free(copy);
    return result;
}

static PyObject *free_row(PyObject *object, PyObject *index) {
    unsigned long number = PyLong_AsUnsignedLong(index);
    if (number == (unsigned long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    phx_row *row = row_at((rows_object *)object, number);
    if (row == NULL) {
        return NULL;
    }
    phx_row_free(row);
    Py_RETURN_NONE;
}

static PyObject *free_if_released(PyObject *object, PyObject *index) {
    unsigned long number = PyLong_AsUnsignedLong(index);
    if (number == (unsigned long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    phx_row *row = row_at((rows_object *)object, number);
    if (row == NULL) {
        return NULL;
    }
    bool is_released = phx_row_look(row).released;
    if (is_released) {
        phx_row_free(row);
    }
    return PyBool_FromLong(is_released);
}

// -- what a worker does ----------------------------------------------------------------------------------------------

static PyObject *claim(PyObject *object, PyObject *args) {
    unsigned long index, worker;
    unsigned long long sequence;
    if (!PyArg_ParseTuple(args, "kKk:claim", &index, &sequence, &worker)) {
        return NULL;
    }
    rows_object *self = (rows_object *)object;
    phx_row *row = row_at(self, index);
    if (row == NULL || outbox_at(self, worker) == NULL) {
        return NULL;
    }
    return PyBool_FromLong(phx_row_claim(row, sequence, (uint32_t)worker + 1));
}

static PyObject *rebuild(PyObject *object, PyObject *index) {
    unsigned long number = PyLong_AsUnsignedLong(index);
    if (number == (unsigned long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    phx_row *row = row_at((rows_object *)object, number);
    if (row == NULL) {
        return NULL;
    }
    phx_row_rebuild(row);
    Py_RETURN_NONE;
}

static PyObject *release(PyObject *object, PyObject *index) {
    unsigned long number = PyLong_AsUnsignedLong(index);
    if (number == (unsigned long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    phx_row *row = row_at((rows_object *)object, number);
    if (row == NULL) {
        return NULL;
    }
    phx_row_release(row);
    Py_RETURN_NONE;
}

// What a result record begins with; the parent reads it with struct "<BBHIQIIIIQ".
typedef struct {
    uint8_t kind, flags;
    uint16_t unused;
    uint32_t row;
    uint64_t sequence;
    uint32_t first, count, end, worker;
    uint64_t elapsed_ns;
} result_head;
_Static_assert(sizeof(result_head) == 40, "the parent reads it so");

#define KIND_RESULTS 1
#define FLAG_EXHAUSTED 1

typedef enum { FINISHED, SLICE_OVER, RAISED, TOO_LARGE, UNSENDABLE } run_outcome;
enum mode { CALL_ONE, CALL_STAR, CALL_FULL };

typedef struct {
    phx_row *row;
    phx_outbox *outbox;
    PyObject *function, *items, *dumps;
    uint64_t sequence, slice_ns;
    uint32_t row_index, worker, limit;
    long mode;
    phx_plain_writer writer;
    PyObject *extra;  // the exception that was raised, or the result that does not fit
} batch_run;

static PyObject *call_star(PyObject *function, PyObject *arguments, PyObject *keywords) {
    PyObject *tuple = PySequence_Tuple(arguments);
    PyObject *result = tuple == NULL ? NULL : PyObject_Call(function, tuple, keywords);
    Py_XDECREF(tuple);
    return result;
}

static PyObject *call_task(const batch_run *run, PyObject *item) {
    switch (run->mode) {
    case CALL_ONE: return PyObject_CallFunctionObjArgs(run->function, item, NULL);
    case CALL_STAR: return call_star(run->function, item, NULL);
    default: return call_star(run->function, PyTuple_GetItem(item, 0), PyTuple_GetItem(item, 1));
    }
}

static PyObject *take_exception(void) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

// A result that is not plain, as a pickle of its own; `dumps` gives None for one that must travel alone.
static phx_plain_result append_pickled(batch_run *run, PyObject *value) {
    PyObject *pickled = PyObject_CallFunctionObjArgs(run->dumps, value, NULL);
    if (pickled == NULL) {
        return PHX_PLAIN_ERROR;
    }
    phx_plain_result result = pickled == Py_None ? PHX_PLAIN_NO_ROOM : phx_plain_write_pickle(&run->writer, pickled);
    Py_DECREF(pickled);
    return result;
}

// Appends the result and publishes it, or says why not. Takes `value` over.
static run_outcome append(batch_run *run, PyObject *value) {
    size_t used = run->writer.used;
    phx_plain_result result = phx_plain_write(&run->writer, value);
    if (result == PHX_PLAIN_NOT) {
        result = append_pickled(run, value);
    }
    if (result == PHX_PLAIN_OK) {
        phx_outbox_publish(run->outbox, (uint32_t)(run->writer.used - used));
        Py_DECREF(value);
        return SLICE_OVER;  // that is: nothing in the way
    }
    if (result == PHX_PLAIN_ERROR) {
        run->extra = Py_BuildValue("(NN)", value, take_exception());
        return UNSENDABLE;
    }
    run->extra = value;
    return TOO_LARGE;
}

static run_outcome run_one(batch_run *run, uint32_t position) {
    PyObject *item = PyList_GetItem(run->items, (Py_ssize_t)position);
    PyObject *value = NULL;
    if (item != NULL) {
        Py_INCREF(item);
        PyList_SetItem(run->items, (Py_ssize_t)position, Py_NewRef(Py_None));  // let go of it right after the call
        value = call_task(run, item);
        Py_DECREF(item);
    }
    phx_kill_point("row.called");
    if (value == NULL) {
        run->extra = take_exception();
        return RAISED;
    }
    return append(run, value);
}

static run_outcome run_tasks(batch_run *run, uint64_t started_ns) {
    uint64_t now_ns = started_ns;
    for (uint32_t count = 0; count < run->limit; count++) {
        uint32_t position = phx_row_next(run->row, now_ns);
        if (position == UINT32_MAX) {
            return FINISHED;
        }
        run_outcome outcome = run_one(run, position);
        if (outcome != SLICE_OVER) {
            return outcome;
        }
        now_ns = (uint64_t)phx_now_ns();
        if (now_ns - started_ns >= run->slice_ns) {
            return SLICE_OVER;
        }
        if (count % SIGNALS_EVERY == SIGNALS_EVERY - 1 && PyErr_CheckSignals() < 0) {
            PyErr_Clear();  // no task is running: nobody's error
        }
    }
    return SLICE_OVER;
}

static PyObject *make_record(const batch_run *run, uint8_t flags, uint32_t first, uint64_t elapsed_ns) {
    phx_row_view view = phx_row_look(run->row);
    result_head head = {
        .kind = KIND_RESULTS,
        .flags = flags,
        .row = run->row_index,
        .sequence = run->sequence,
        .first = first,
        .count = phx_published_count(run->outbox->published),
        .end = view.end,
        .worker = run->worker,
        .elapsed_ns = elapsed_ns,
    };
    PyObject *record = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(sizeof head + run->writer.used));
    if (record != NULL) {
        char *to = PyBytes_AsString(record);
        memcpy(to, &head, sizeof head);
        memcpy(to + sizeof head, run->outbox->bytes, run->writer.used);
    }
    return record;
}

// (outcome, exhausted, count of results, record with them, extra)
static PyObject *run_batch(batch_run *run) {
    uint32_t first = phx_row_look(run->row).position;
    phx_outbox_begin(run->outbox, run->sequence, first);
    uint64_t started_ns = (uint64_t)phx_now_ns();
    run_outcome outcome = run_tasks(run, started_ns);
    bool exhausted = phx_row_is_exhausted(run->row);
    PyObject *record = make_record(run, exhausted ? FLAG_EXHAUSTED : 0, first, (uint64_t)phx_now_ns() - started_ns);
    if (record == NULL) {
        Py_XDECREF(run->extra);
        return NULL;
    }
    if (exhausted) {
        phx_row_release(run->row);
    }
    return Py_BuildValue("iOINN", (int)outcome, exhausted ? Py_True : Py_False,
                         phx_published_count(run->outbox->published), record,
                         run->extra == NULL ? Py_NewRef(Py_None) : run->extra);
}

static PyObject *run(PyObject *object, PyObject *args) {
    rows_object *self = (rows_object *)object;
    unsigned long row_index, worker, limit;
    unsigned long long sequence, slice_ns;
    batch_run batch = {0};
    if (!PyArg_ParseTuple(args, "kKkOO!lkKO:run", &row_index, &sequence, &worker, &batch.function, &PyList_Type,
                          &batch.items, &batch.mode, &limit, &slice_ns, &batch.dumps)) {
        return NULL;
    }
    batch.row = row_at(self, row_index);
    batch.outbox = batch.row == NULL ? NULL : outbox_at(self, worker);
    if (batch.outbox == NULL) {
        return NULL;
    }
    batch.sequence = sequence;
    batch.slice_ns = slice_ns;
    batch.row_index = (uint32_t)row_index;
    batch.worker = (uint32_t)worker;
    batch.limit = limit > UINT32_MAX ? UINT32_MAX : (uint32_t)limit;
    batch.writer.bytes = batch.outbox->bytes;
    batch.writer.capacity = self->outbox_bytes - sizeof(phx_outbox);
    return run_batch(&batch);
}

// -- items of a record -----------------------------------------------------------------------------------------------

static PyObject *finish_items(phx_plain_writer *writer, phx_plain_result result) {
    PyObject *record = NULL;
    if (result == PHX_PLAIN_OK) {
        record = PyBytes_FromStringAndSize((char *)writer->bytes, (Py_ssize_t)writer->used);
    } else if (result == PHX_PLAIN_NOT) {
        record = Py_NewRef(Py_None);
    }
    PyMem_Free(writer->bytes);
    return record;
}

static PyObject *encode_items(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer prefix;
    PyObject *items;
    Py_ssize_t start, stop;
    if (!PyArg_ParseTuple(args, "y*O!nn:encode_items", &prefix, &PyList_Type, &items, &start, &stop)) {
        return NULL;
    }
    size_t capacity = (size_t)prefix.len + 64;
    phx_plain_writer writer = {.bytes = PyMem_Malloc(capacity), .used = (size_t)prefix.len, .capacity = capacity};
    writer.may_grow = true;
    if (writer.bytes == NULL) {
        PyBuffer_Release(&prefix);
        return PyErr_NoMemory();
    }
    memcpy(writer.bytes, prefix.buf, (size_t)prefix.len);
    PyBuffer_Release(&prefix);
    phx_plain_result result = PHX_PLAIN_OK;
    for (Py_ssize_t i = start; i < stop && result == PHX_PLAIN_OK; i++) {
        PyObject *item = PyList_GetItem(items, i);
        result = item == NULL ? PHX_PLAIN_ERROR : phx_plain_write(&writer, item);
    }
    return finish_items(&writer, result);
}

static PyObject *encode_pickled(PyObject *module, PyObject *pickled) {
    (void)module;
    phx_plain_writer writer = {.may_grow = true};
    return finish_items(&writer, phx_plain_write_pickle(&writer, pickled));
}

static PyObject *decode_items(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer record;
    Py_ssize_t offset, count;
    PyObject *loads;
    if (!PyArg_ParseTuple(args, "y*nnO:decode_items", &record, &offset, &count, &loads)) {
        return NULL;
    }
    PyObject *items = NULL;
    if (offset < 0 || offset > record.len || count < 0 || count > record.len - offset) {
        PyErr_SetString(PyExc_ValueError, "a record of a pool's channel is too short");
    } else {
        items = PyList_New(count);
    }
    phx_plain_reader reader = {(uint8_t *)record.buf + offset, (uint8_t *)record.buf + record.len};
    for (Py_ssize_t i = 0; items != NULL && i < count; i++) {
        PyObject *item = phx_plain_read(&reader, loads, i);
        if (item == NULL) {
            Py_CLEAR(items);
        } else {
            PyList_SetItem(items, i, item);
        }
    }
    PyBuffer_Release(&record);
    return items;
}

// -- the module's part -----------------------------------------------------------------------------------------------

static PyMethodDef methods[] = {
    {"size", size, METH_VARARGS | METH_STATIC, "size(rows, outboxes, outbox_bytes, /)\n--\n\nBytes of block needed."},
    {"post", post, METH_VARARGS, "post($self, row, sequence, count, /)\n--\n\nPut a batch into a free row."},
    {"look", look, METH_O, "look($self, row, /)\n--\n\n(sequence, worker or -1, released, position, end, started_ns)."},
    {"cut", cut, METH_VARARGS,
     "cut($self, row, sequence, keep, /)\n--\n\nEnd the batch at `keep` at the earliest; where it ends now."},
    {"peek", peek, METH_O,
     "peek($self, worker, /)\n--\n\n(sequence, first, count, bytes) of its outbox; None while it changes."},
    {"free_if_released", free_if_released, METH_O,
     "free_if_released($self, row, /)\n--\n\nFree the row if its holder is done with it; whether it was."},
    {"free", free_row, METH_O, "free($self, row, /)\n--\n\nThe batch is answered, its holder gone or done."},
    {"claim", claim, METH_VARARGS,
     "claim($self, row, sequence, worker, /)\n--\n\nTrue if the batch is now this worker's."},
    {"rebuild", rebuild, METH_O, "rebuild($self, row, /)\n--\n\nThis worker unpickles function and items now."},
    {"release", release, METH_O, "release($self, row, /)\n--\n\nThis worker is done with the row."},
    {"run", run, METH_VARARGS,
     "run($self, row, sequence, worker, function, items, mode, limit, slice_ns, dumps, /)\n--\n\n"
     "Run tasks; (outcome, exhausted, count, record, extra)."},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef functions[] = {
    {"encode_items", encode_items, METH_VARARGS,
     "encode_items(prefix, items, start, stop, /)\n--\n\nA record of plain values; None if one is not plain."},
    {"encode_pickled", encode_pickled, METH_O,
     "encode_pickled(pickled, /)\n--\n\nOne value of a record that was pickled."},
    {"decode_items", decode_items, METH_VARARGS,
     "decode_items(record, offset, count, loads, /)\n--\n\nThe values; pickled ones are loads(bytes, index)."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, (void *)new},
    {Py_tp_dealloc, (void *)dealloc},
    {Py_tp_methods, methods},
    {Py_tp_doc, (void *)"Rows(block, rows, outboxes, outbox_bytes)\n--\n\nWhich task of a pool is in whose hands."},
    {0, NULL},
};

static PyType_Spec spec = {"phalanx._native.Rows", sizeof(rows_object), 0, Py_TPFLAGS_DEFAULT, slots};

int phx_bind_row(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    if (type == NULL || PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
