/* Exact Baseline Shapley values of a tree ensemble against one reference row.
 *
 * Of every tree, only the part is walked in which the row and the reference part ways. Where they do, the split's
 * player (the feature, however many columns it has) joins those whose value must be the row's on one side, and
 * those whose value must be the reference's on the other. A leaf reached with `a` of the former and `b` of the
 * latter is worth value * (a-1)! b! / (a+b)! to each of the former and -value * a! (b-1)! / (a+b)! to each of the
 * latter; the two sums are handed up, so that each split adds one number to one player.
 * (Lundberg et al. 2020, interventional TreeSHAP; Sundararajan and Najmi 2020, the baseline game.)
 *
 * The constructor copies what it is given and checks all of it, so that no file, however made, can lead the walk
 * outside its arrays; `trees.py` has refused such a file before. Limited API of Python 3.11: one binary for all.
 */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define MAX_DEPTH 64
#define SPLIT_MISSING_LEFT 1u
#define SPLIT_ZERO_IS_MISSING 2u
#define SPLIT_NAN_IS_MISSING 4u
#define REFERENCE_LEFT 8u
#define ZERO 1.0000000180025095e-35 /* LightGBM's kZeroThreshold, a float */
#define WIDEST_ON_STACK 256         /* columns of a row */
#define ROWS_WORTH_A_RELEASE 8      /* one row is over sooner than another thread could take the lock and give it back */

/* `trees.NODE`: a split has a column, a threshold and children after itself; a leaf has column -1 and its margin. */
typedef struct {
    double value;
    int32_t column;
    int32_t left;
    int32_t right;
    uint32_t flags;
} Node;

typedef struct {
    PyObject_HEAD
    Node *nodes;
    int32_t *roots;
    int32_t *players; /* by column */
    double weights[MAX_DEPTH + 1][MAX_DEPTH + 1];
    Py_ssize_t node_count, root_count, width, player_count;
} Forest;

/* What one walk needs; `side` says of each player whether its value is settled: 0 no, 1 the row's, 2 the reference's. */
typedef struct {
    const Node *nodes;
    const int32_t *players;
    const double (*weights)[MAX_DEPTH + 1];
    const double *row;
    double *out;
    unsigned char *side;
} Walk;

typedef struct {
    double inside, outside;
} Share;

static inline int goes_left(const Node *node, double value)
{
    if (node->flags & (SPLIT_ZERO_IS_MISSING | SPLIT_NAN_IS_MISSING)) {
        int is_nan = value != value;
        int missing = is_nan || ((node->flags & SPLIT_ZERO_IS_MISSING) && value == 0.0);
        if (missing)
            return (node->flags & SPLIT_MISSING_LEFT) != 0;
        return value <= node->value;
    }
    return (value != value ? 0.0 : value) <= node->value;
}

static Share walk(const Walk *w, int32_t at, int a, int b)
{
    for (;;) {
        const Node *node = &w->nodes[at];
        if (node->column < 0) {
            Share share = {node->value * w->weights[a][b], node->value * w->weights[b][a]};
            return share;
        }
        int row_left = goes_left(node, w->row[node->column]);
        int reference_left = (node->flags & REFERENCE_LEFT) != 0;
        if (row_left == reference_left) {
            at = row_left ? node->left : node->right;
            continue;
        }
        int player = w->players[node->column];
        if (w->side[player]) { /* settled above: follow whose value it is */
            int left = w->side[player] == 2 ? reference_left : row_left;
            at = left ? node->left : node->right;
            continue;
        }
        w->side[player] = 1;
        Share of_row = walk(w, row_left ? node->left : node->right, a + 1, b);
        w->side[player] = 2;
        Share of_reference = walk(w, reference_left ? node->left : node->right, a, b + 1);
        w->side[player] = 0;
        w->out[player] += of_row.inside - of_reference.outside;
        Share both = {of_row.inside + of_reference.inside, of_row.outside + of_reference.outside};
        return both;
    }
}

static inline void clean(const Forest *forest, const double *row, double *out)
{
    for (Py_ssize_t column = 0; column < forest->width; column++)
        out[column] = fabs(row[column]) <= ZERO ? 0.0 : row[column]; /* as LightGBM does; NaN stays */
}

static void attribute_rows(const Forest *forest, const double *rows, Py_ssize_t count, double *out, double *row,
                           unsigned char *side)
{
    Walk w = {forest->nodes, forest->players, (const double (*)[MAX_DEPTH + 1])forest->weights, row, NULL, side};
    memset(side, 0, (size_t)forest->player_count);
    for (Py_ssize_t index = 0; index < count; index++) {
        clean(forest, rows + index * forest->width, row);
        w.out = out + index * forest->player_count;
        for (Py_ssize_t tree = 0; tree < forest->root_count; tree++)
            walk(&w, forest->roots[tree], 0, 0);
    }
}

static inline int32_t step(const Node *nodes, int32_t at, const double *row, int *moving)
{
    const Node *node = &nodes[at];
    if (node->column < 0)
        return at;
    *moving = 1;
    return goes_left(node, row[node->column]) ? node->left : node->right;
}

/* The sum of the leaves a clean row reaches, in the order of the trees, so that it is LightGBM's to the last bit.
 * Four trees are walked side by side: what one waits for from memory, the others use to go on. */
static double sum_of_leaves(const Forest *forest, const double *row)
{
    const Node *nodes = forest->nodes;
    double sum = 0.0;
    Py_ssize_t tree = 0;
    for (; tree + 4 <= forest->root_count; tree += 4) {
        int32_t a = forest->roots[tree], b = forest->roots[tree + 1];
        int32_t c = forest->roots[tree + 2], d = forest->roots[tree + 3];
        int moving;
        do {
            moving = 0;
            a = step(nodes, a, row, &moving);
            b = step(nodes, b, row, &moving);
            c = step(nodes, c, row, &moving);
            d = step(nodes, d, row, &moving);
        } while (moving);
        sum += nodes[a].value;
        sum += nodes[b].value;
        sum += nodes[c].value;
        sum += nodes[d].value;
    }
    for (; tree < forest->root_count; tree++) {
        int32_t at = forest->roots[tree];
        int moving;
        do {
            moving = 0;
            at = step(nodes, at, row, &moving);
        } while (moving);
        sum += nodes[at].value;
    }
    return sum;
}

/* Copy a tree so that it lies in memory as it is walked: each node before its left child, and that before the right. */
static void lay_out(const Node *old, int32_t at, Node *new, int32_t *next)
{
    int32_t here = (*next)++;
    new[here] = old[at];
    if (old[at].column < 0)
        return;
    new[here].left = *next;
    lay_out(old, old[at].left, new, next);
    new[here].right = *next;
    lay_out(old, old[at].right, new, next);
}

static int lay_out_all(Forest *forest)
{
    Node *new = PyMem_Malloc((size_t)forest->node_count * sizeof(Node));
    int32_t next = 0;
    if (new == NULL)
        return -1;
    for (Py_ssize_t tree = 0; tree < forest->root_count; tree++) {
        int32_t root = next;
        lay_out(forest->nodes, forest->roots[tree], new, &next);
        forest->roots[tree] = root;
    }
    PyMem_Free(forest->nodes);
    forest->nodes = new;
    forest->node_count = next;
    return 0;
}

/* w[a][b] = (a-1)! b! / (a+b)!, and 0 for a = 0, by w[a][b] = w[a][b-1] * b / (a+b) and w[a][0] = 1/a. */
static void fill_weights(Forest *forest)
{
    for (int b = 0; b <= MAX_DEPTH; b++)
        forest->weights[0][b] = 0.0;
    for (int a = 1; a <= MAX_DEPTH; a++) {
        forest->weights[a][0] = 1.0 / a;
        for (int b = 1; b <= MAX_DEPTH; b++)
            forest->weights[a][b] = forest->weights[a][b - 1] * b / (a + b);
    }
}

/* Tell whether every walk ends inside the arrays: children after parents, each a child once, none too deep. */
static int is_sound(const Forest *forest)
{
    unsigned char *depth;
    int sound = 1;
    if (forest->node_count < 1 || forest->node_count > INT32_MAX || forest->width < 1 || forest->player_count < 1)
        return 0;
    for (Py_ssize_t column = 0; column < forest->width; column++)
        if (forest->players[column] < 0 || forest->players[column] >= forest->player_count)
            return 0;
    depth = PyMem_Calloc((size_t)forest->node_count, 1); /* 0: not reached, else 1 + depth */
    if (depth == NULL)
        return 0;
    for (Py_ssize_t tree = 0; tree < forest->root_count && sound; tree++) {
        int32_t root = forest->roots[tree];
        sound = root >= 0 && root < forest->node_count && depth[root] == 0;
        if (sound)
            depth[root] = 1;
    }
    for (Py_ssize_t at = 0; at < forest->node_count && sound; at++) {
        const Node *node = &forest->nodes[at];
        if (node->column < 0)
            continue;
        sound = depth[at] > 0 && depth[at] <= MAX_DEPTH && node->column < forest->width && node->left > at &&
                node->right > at && node->left < forest->node_count && node->right < forest->node_count &&
                node->left != node->right && depth[node->left] == 0 && depth[node->right] == 0;
        if (sound)
            depth[node->left] = depth[node->right] = (unsigned char)(depth[at] + 1);
    }
    PyMem_Free(depth);
    return sound;
}

/* Copy a contiguous buffer whose items have the given size; NULL with an exception set where it is not one. */
static void *copied(PyObject *source, Py_ssize_t item, Py_ssize_t *count)
{
    Py_buffer view;
    void *copy = NULL;
    if (PyObject_GetBuffer(source, &view, PyBUF_C_CONTIGUOUS) < 0)
        return NULL;
    if (view.itemsize != item || view.len == 0)
        PyErr_SetString(PyExc_ValueError, "an array is empty, or its items have another size");
    else if ((copy = PyMem_Malloc((size_t)view.len)) == NULL)
        PyErr_NoMemory();
    else {
        memcpy(copy, view.buf, (size_t)view.len);
        *count = view.len / item;
    }
    PyBuffer_Release(&view);
    return copy;
}

static PyObject *forest_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *nodes, *roots, *players;
    Py_ssize_t player_count;
    static char *names[] = {"nodes", "roots", "players", "player_count", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOn", names, &nodes, &roots, &players, &player_count))
        return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Forest *forest = (Forest *)allocate(type, 0);
    if (forest == NULL)
        return NULL;
    forest->player_count = player_count;
    if ((forest->nodes = copied(nodes, sizeof(Node), &forest->node_count)) == NULL ||
        (forest->roots = copied(roots, sizeof(int32_t), &forest->root_count)) == NULL ||
        (forest->players = copied(players, sizeof(int32_t), &forest->width)) == NULL) {
        Py_DECREF(forest);
        return NULL;
    }
    if (!is_sound(forest)) {
        PyErr_SetString(PyExc_ValueError, "the nodes do not form trees over the columns");
        Py_DECREF(forest);
        return NULL;
    }
    if (lay_out_all(forest) < 0) {
        Py_DECREF(forest);
        return PyErr_NoMemory();
    }
    fill_weights(forest);
    return (PyObject *)forest;
}

static void forest_dealloc(Forest *forest)
{
    PyTypeObject *type = Py_TYPE((PyObject *)forest);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    PyMem_Free(forest->nodes);
    PyMem_Free(forest->roots);
    PyMem_Free(forest->players);
    release(forest);
    Py_DECREF(type);
}

PyDoc_STRVAR(attribute_doc,
             "attribute(rows, out)\n--\n\n"
             "Add each player's contribution for rows, float64 (n, width), to out, float64 (n, players).");

static PyObject *forest_attribute(Forest *forest, PyObject *args)
{
    PyObject *rows_object, *out_object;
    Py_buffer rows, out;
    if (!PyArg_ParseTuple(args, "OO", &rows_object, &out_object))
        return NULL;
    if (PyObject_GetBuffer(rows_object, &rows, PyBUF_C_CONTIGUOUS) < 0)
        return NULL;
    if (PyObject_GetBuffer(out_object, &out, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE) < 0) {
        PyBuffer_Release(&rows);
        return NULL;
    }
    Py_ssize_t row_size = forest->width * (Py_ssize_t)sizeof(double);
    Py_ssize_t out_size = forest->player_count * (Py_ssize_t)sizeof(double);
    Py_ssize_t count = rows.len / row_size;
    double *row = NULL;
    int failed = 1;
    if (rows.itemsize != sizeof(double) || out.itemsize != sizeof(double) || rows.len != count * row_size ||
        out.len / out_size != count || out.len != count * out_size)
        PyErr_SetString(PyExc_ValueError, "rows and out do not fit the forest");
    else if ((row = PyMem_Malloc((size_t)(row_size + forest->player_count))) == NULL)
        PyErr_NoMemory();
    else {
        unsigned char *side = (unsigned char *)(row + forest->width);
        if (count >= ROWS_WORTH_A_RELEASE) {
            Py_BEGIN_ALLOW_THREADS
            attribute_rows(forest, rows.buf, count, out.buf, row, side);
            Py_END_ALLOW_THREADS
        } else
            attribute_rows(forest, rows.buf, count, out.buf, row, side);
        failed = 0;
    }
    PyMem_Free(row);
    PyBuffer_Release(&out);
    PyBuffer_Release(&rows);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(margin_doc, "margin(row)\n--\n\nReturn the sum of the leaves that a row, float64 (width,), reaches.");

static PyObject *forest_margin(Forest *forest, PyObject *row_object)
{
    Py_buffer row;
    double on_stack[WIDEST_ON_STACK], *values = on_stack, sum = 0.0;
    int failed = 1;
    if (PyObject_GetBuffer(row_object, &row, PyBUF_C_CONTIGUOUS) < 0)
        return NULL;
    if (row.itemsize != sizeof(double) || row.len != forest->width * (Py_ssize_t)sizeof(double))
        PyErr_SetString(PyExc_ValueError, "the row does not fit the forest");
    else if (forest->width > WIDEST_ON_STACK && (values = PyMem_Malloc((size_t)row.len)) == NULL)
        PyErr_NoMemory();
    else {
        clean(forest, row.buf, values);
        sum = sum_of_leaves(forest, values);
        failed = 0;
    }
    if (values != on_stack)
        PyMem_Free(values);
    PyBuffer_Release(&row);
    return failed ? NULL : PyFloat_FromDouble(sum);
}

static PyMethodDef forest_methods[] = {
    {"margin", (PyCFunction)forest_margin, METH_O, margin_doc},
    {"attribute", (PyCFunction)forest_attribute, METH_VARARGS, attribute_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(forest_doc, "Forest(nodes, roots, players, player_count)\n--\n\n"
                         "Trees prepared against one reference row, which bit 8 of a split's flags says goes left there.");

static PyType_Slot forest_slots[] = {
    {Py_tp_doc, (void *)forest_doc},
    {Py_tp_new, forest_new},
    {Py_tp_dealloc, forest_dealloc},
    {Py_tp_methods, forest_methods},
    {0, NULL},
};

static PyType_Spec forest_spec = {"aboveboard.models._shapley.Forest", sizeof(Forest), 0, Py_TPFLAGS_DEFAULT,
                                  forest_slots};

static int module_exec(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&forest_spec);
    if (type == NULL)
        return -1;
    int status = PyModule_AddObjectRef(module, "Forest", type);
    Py_DECREF(type);
    return status;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_shapley", "Exact Baseline Shapley values of tree ensembles.", 0, NULL, module_slots, NULL,
    NULL, NULL};

PyMODINIT_FUNC PyInit__shapley(void) { return PyModuleDef_Init(&module); }
