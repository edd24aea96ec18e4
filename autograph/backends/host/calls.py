"""What Python calls of the engine: a launch, a new array, a launch that fills one, and a choice of
functions by how an array lies. Of arrays they read what NumPy's C interface lays down."""

# ruff: noqa: SIM102 - `and` evaluates both sides in kernels

from __future__ import annotations

from llvmlite import ir

from ..choice import KERNEL, KEY, LIKE, NAME, OTHER, PLACE, THREAD
from .forkjoin import (
    ARRAY,
    DATA_AT,
    FLOAT,
    INTEGER,
    LISTENER,
    NEW,
    NONE,
    TYPE_AT,
    external,
    load,
    run,
    state,
)
from .intrinsics import address, array, pointer
from .scalars import I64, VOID, Intrinsic, Value, i32, i64

WORDS = 64  # of a launch
NEW_LIKE = 277  # NumPy's PyArray_NewLikeArray, in its table of functions
# What an array says of itself after where its data are, in bytes from there.
COUNT_AT, SHAPE_AT, STRIDES_AT, KIND_AT = 8, 16, 24, 40

long_of, raised = external("PyLong_AsLongLong", I64), external("PyErr_Occurred", I64)
save_thread = external("PyEval_SaveThread", I64)
restore_thread = external("PyEval_RestoreThread", I64)
increase, decrease = external("Py_IncRef", I64), external("Py_DecRef", I64)
tell = external("PyObject_Vectorcall", I64)
item, attribute = external("PyList_GetItem", I64), external("PyObject_GetAttr", I64)
is_error, clear_error = external("PyErr_ExceptionMatches"), external("PyErr_Clear", VOID)
set_error = external("PyErr_SetString", VOID)


@Intrinsic
def float_word(to, number):
    """The bits of a Python float's value."""
    function = to.external("PyFloat_AsDouble", ir.DoubleType(), [I64])
    return Value(
        i64, to.builder.bitcast(to.builder.call(function, [to.cast(number, i64).code]), I64)
    )


@Intrinsic
def answer(to, function, *words):
    """What native code at an address answers to words."""
    codes = [to.cast(word, i64).code for word in words]
    kind = ir.FunctionType(I64, [I64] * len(codes)).as_pointer()
    place = to.builder.inttoptr(to.cast(function, i64).code, kind)
    return Value(i64, to.builder.call(place, codes))


@Intrinsic
def exported(to, name):
    """The word that Python exports under a name."""
    word = to.module.globals.get(name) or ir.GlobalVariable(to.module, I64, name)
    return Value(i64, to.builder.load(word))


@Intrinsic
def refuse(to):
    """Raise Python's TypeError for words that a kernel cannot take."""
    text = b"kernel: words are integers, floats, NumPy arrays and None, at most 62 of them\0"
    name = to.module.get_unique_name("words_error")
    constant = ir.GlobalVariable(to.module, ir.ArrayType(ir.IntType(8), len(text)), name)
    constant.initializer, constant.global_constant = (
        ir.Constant(constant.value_type, bytearray(text)),
        True,
    )
    error, words = exported.emit(to, "PyExc_TypeError"), to.builder.ptrtoint(constant, I64)
    set_error.emit(to, error, Value(i64, words))


def launched(arguments, given):
    """Run the native code that (address, tasks, *words) say; 0 where Python's error is set instead.
    Whoever listens is told first."""
    pool, objects = state(), pointer(i64, arguments)
    block, right = array(i64, WORDS), given >= 2
    right &= given < WORDS
    i = 0
    while right & (i < given):
        word = objects[i]
        kind = pointer(i64, word + load(pool + TYPE_AT))[0]
        if kind == load(pool + ARRAY):
            block[i] = pointer(i64, word + load(pool + DATA_AT))[0]
        elif kind == load(pool + INTEGER):
            number = long_of(word)
            block[i] = number
            if number == -1:
                right = raised() == 0
        elif word == load(pool + NONE):
            block[i] = 0
        elif kind == load(pool + FLOAT):
            block[i] = float_word(word)
        else:
            right = 0 > 1
        i += 1
    if right & (load(pool + LISTENER) != 0):
        told = tell(load(pool + LISTENER), arguments, given, 0)
        right = told != 0
        if right:
            decrease(told)
    if right:
        if block[1] > 1:
            saved = save_thread()
            run(block[0], address(block + 2), block[1])
            restore_thread(saved)
        else:
            run(block[0], address(block + 2), block[1])
    elif raised() == 0:
        refuse()
    return right


def fresh(arguments):
    """The array that `new` answers; 0 where there is no memory."""
    make, like, y = pointer(i64, arguments)[0], pointer(i64, arguments)[1], 0
    if load(state() + LISTENER):
        y = tell(make, 0, 0, 0)
    else:
        y = answer(load(state() + NEW), like, 0, 0, 0)
    return y


def alike(x, y):
    """Whether two objects are arrays of one scalar type, shape and strides."""
    pool = state()
    same = pointer(i64, x + load(pool + TYPE_AT))[0] == load(pool + ARRAY)
    same &= pointer(i64, y + load(pool + TYPE_AT))[0] == load(pool + ARRAY)
    if same:
        x, y = x + load(pool + DATA_AT), y + load(pool + DATA_AT)
        count = pointer(i32, x + COUNT_AT)[0]
        same &= count == pointer(i32, y + COUNT_AT)[0]
        same &= pointer(i64, x + KIND_AT)[0] == pointer(i64, y + KIND_AT)[0]
        if same:
            shape, steps = pointer(i64, x + SHAPE_AT)[0], pointer(i64, x + STRIDES_AT)[0]
            its_shape, its_steps = pointer(i64, y + SHAPE_AT)[0], pointer(i64, y + STRIDES_AT)[0]
            for i in range(count):
                same &= pointer(i64, shape)[i] == pointer(i64, its_shape)[i]
                same &= pointer(i64, steps)[i] == pointer(i64, its_steps)[i]
    return same


# -- What Python calls ------


def launch(self, arguments, given):
    """launch(address, tasks, *words): numbers, floats, arrays (their data) and None (0) as
    words."""
    none = load(state() + NONE)
    result = none if launched(arguments, given) else 0
    if result:
        increase(none)
    return result


def new(self, arguments, given):
    """new(make, like): a new array in C order, of the shape and the scalar type of another. Who
    listens keeps the memory that arrays lie in: then it is what `make` makes."""
    return fresh(arguments)


def fill(self, arguments, given):
    """fill(make, like, address, tasks, *words): launch with the words and a new array, which it
    answers."""
    objects, words, y = pointer(i64, arguments), array(i64, WORDS), 0
    if (given > 3) & (given < WORDS):
        y = fresh(arguments)
    if y:
        for i in range(given - 2):
            words[i] = objects[i + 2]
        words[given - 2] = y
        if launched(address(words), given - 1) == 0:
            decrease(y)
            y = 0
    elif raised() == 0:
        refuse()
    return y


def choose(self, arguments, given):
    """choose(choice, *arrays): the kernel of a choice or the other one, as `choice.py` says it in
    Python."""
    choice, kernel, y = pointer(i64, arguments)[0], 0, 0
    there = attribute(item(choice, THREAD), item(choice, NAME))
    if there:
        decrease(there)
        place = long_of(item(choice, PLACE))
        x = pointer(i64, arguments)[1 + place]
        if (there == item(choice, KEY)) & alike(x, item(choice, LIKE)):
            kernel = item(choice, KERNEL)
            increase(kernel)
            y = tell(kernel, arguments + 8, given - 1, 0)
            decrease(kernel)
            if y == 0:
                if is_error(exported("PyExc_MemoryError")):
                    clear_error()
                    kernel = 0
        if kernel == 0:
            y = tell(item(choice, OTHER), arguments, given, 0)
    return y
