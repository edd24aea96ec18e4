"""Recurrent steps over a sequence, each op a whole sequence: LSTM (Hochreiter and Schmidhuber,
1997; gates i, f, g, o) and GRU (Cho and others, 2014; gates r, z, n), in torch's forms.

Shapes: g (N, T, G * H) what the gates get from the input, one `linear` for all steps; h and c
(N, H) the state before; weight (H, G * H) and bias (G * H,) from the state; y (N, T, H) all states.
With a projection (H, P) of an LSTM, h and y have P in place of H, and weight is (P, 4 * H) (Sak,
Senior and Beaufays, 2014).
"""

from ..backends import CUPY, NUMPY, namespace
from ..errors import ShapeError
from ..op import Op
from .declare import undoing
from .elementwise import add, multiply, sigmoid, subtract
from .index import index
from .linear import linear
from .shape import concat, reshape
from .transcendental import tanh

lstm_steps = Op(
    "lstm_steps", "g h c weight projection?", outputs="y last", saves="gates cells", floats=True
)
lstm_steps_back = Op(
    "lstm_steps_back",
    "dy? dlast? y gates cells h c weight projection?",
    outputs="dg dh dc dweight dprojection",
    promotes="dy dlast y h c weight projection",
)
gru_steps = Op("gru_steps", "g h weight bias?", saves="gates", floats=True)
gru_steps_back = Op(
    "gru_steps_back",
    "dy y gates h weight bias?",
    outputs="dg dh dweight dbias",
    promotes="dy y h weight bias",
)


def _check(op, count, g, h, weight, size):
    """Refuse what is not of states of one `size`, of which (P,) or (H,) go on as h."""
    if g.ndim != 3 or (h.ndim, weight.ndim) != (2, 2):
        fits = False
    else:
        wanted = g.shape[0], (h.shape[1], count * size), count * size
        fits = (h.shape[0], weight.shape, g.shape[2]) == wanted
    if not fits:
        raise ShapeError(
            f"{op}: gates, state and weight do not fit\n  g       {g.shape}  N T {count} * H\n"
            f"  h       {h.shape}  N H\n  weight  {weight.shape}  H {count} * H"
        )


def _sigmoid(xp, x):
    """By tanh, which neither overflows nor branches."""
    return 0.5 * xp.tanh(0.5 * x) + 0.5


def _before(y, h):
    """The state before each step: (N, T, H)."""
    xp = namespace(y)
    return xp.concatenate([h[:, None], y[:, :-1]], axis=1) if y.shape[1] else y


def _dweight(states, deltas):
    """The sum over samples and steps of state times delta: (H, G * H)."""
    return states.reshape(-1, states.shape[-1]).T @ deltas.reshape(-1, deltas.shape[-1])


# -- LSTM --------------------------------------------------------------------------------


@lstm_steps.outlined_by
def lstm_steps_outline(g, h, c, weight, projection):
    size = c.shape[-1] if c.ndim else 0
    _check("lstm_steps", 4, g, h, weight, size)
    if projection is None and c.shape != h.shape:
        raise ShapeError(f"lstm_steps: two states of one shape\n  h  {h.shape}\n  c  {c.shape}")
    wanted = (h.shape[0], size), (size, h.shape[1])
    if projection is not None and (c.shape, projection.shape) != wanted:
        raise ShapeError(
            f"lstm_steps: the projection does not lead from c to h\n"
            f"  c           {c.shape}\n  h           {h.shape}\n  projection  {projection.shape}"
        )
    wide = g.scalar_type.accumulator
    cells = g.like((*g.shape[:2], c.shape[1]), wide)
    return g.like(shape=(*g.shape[:2], h.shape[1])), c.like(), g.like(scalar_type=wide), cells


@lstm_steps.kernel(NUMPY, CUPY)
def lstm_steps_arrays(g, h, c, weight, projection):
    """i, f, o = sigmoid, g = tanh of g + h @ weight;  c = f * c + i * g;  h = o * tanh(c), or that
    @ projection."""
    xp, size = namespace(g), c.shape[1]
    gates, cells = xp.empty(g.shape, g.dtype), xp.empty((*g.shape[:2], size), g.dtype)
    y = xp.empty((*g.shape[:2], h.shape[1]), g.dtype)
    for t in range(g.shape[1]):
        a = g[:, t] + h @ weight
        now = gates[:, t]
        now[:] = _sigmoid(xp, a)
        now[:, 2 * size : 3 * size] = xp.tanh(a[:, 2 * size : 3 * size])
        i, f, new, o = (now[:, k * size : (k + 1) * size] for k in range(4))
        c = f * c + i * new
        h = o * xp.tanh(c)
        h = h if projection is None else h @ projection
        cells[:, t], y[:, t] = c, h
    return y, c.copy(), gates, cells


@lstm_steps.gradient("g", "h", "c", "weight", "projection")
def lstm_steps_gradient(outputs, g, h, c, weight, projection, *, gates, cells):
    y = outputs[0]
    return lambda slopes: lstm_steps_back(*slopes, y, gates, cells, h, c, weight, projection)


@lstm_steps_back.outlined_by
def lstm_steps_back_outline(dy, dlast, y, gates, cells, h, c, weight, projection):
    dprojection = weight.like(shape=(0,) if projection is None else projection.shape)
    return y.like(shape=gates.shape), h.like(), c.like(), weight.like(), dprojection


undoing(lstm_steps_back, lstm_steps)


@lstm_steps_back.kernel(NUMPY, CUPY)
def lstm_steps_back_arrays(dy, dlast, y, gates, cells, h, c, weight, projection):
    """Back through time: what comes from the next step, and what from y."""
    xp, size = namespace(gates), c.shape[1]
    dg = xp.empty(gates.shape, gates.dtype)
    dh = xp.zeros_like(h)
    dc = xp.zeros_like(c) if dlast is None else dlast
    before = xp.concatenate([c[:, None], cells[:, :-1]], axis=1) if y.shape[1] else cells
    projected = xp.empty(y.shape if projection is not None else 0, y.dtype)  # gradients of y
    for t in reversed(range(gates.shape[1])):
        dh = dh if dy is None else dh + dy[:, t]
        if projection is not None:
            projected[:, t] = dh
            dh = dh @ projection.T
        i, f, new, o = (gates[:, t, k * size : (k + 1) * size] for k in range(4))
        bent = xp.tanh(cells[:, t])
        dc = dc + dh * o * (1 - bent * bent)
        here = dg[:, t]
        here[:, :size] = dc * new * i * (1 - i)
        here[:, size : 2 * size] = dc * before[:, t] * f * (1 - f)
        here[:, 2 * size : 3 * size] = dc * i * (1 - new * new)
        here[:, 3 * size :] = dh * bent * o * (1 - o)
        dh, dc = here @ weight.T, dc * f
    dprojection = projected
    if projection is not None:
        dprojection = _dweight(gates[..., 3 * size :] * xp.tanh(cells), projected)
    return dg, dh, dc, _dweight(_before(y, h), dg), dprojection


@lstm_steps.composed_by
def lstm_steps_parts(g, h, c, weight, projection=None):
    size, found = c.shape[1], []
    for t in range(g.shape[1]):
        a = add(index(g, key=(slice(None), t)), linear(h, weight, None))
        i, f, new, o = (_part(a, size, k) for k in range(4))
        c = add(multiply(sigmoid(f), c), multiply(sigmoid(i), tanh(new)))
        h = multiply(sigmoid(o), tanh(c))
        h = h if projection is None else linear(h, projection, None)
        found.append(h)
    return _stacked(found), c


def _part(x, size, k):
    return index(x, key=(slice(None), slice(k * size, (k + 1) * size)))


def _stacked(states):
    return concat(*[reshape(h, shape=(h.shape[0], 1, h.shape[1])) for h in states], axis=1)


# -- GRU ---------------------------------------------------------------------------------


@gru_steps.outlined_by
def gru_steps_outline(g, h, weight, bias):
    _check("gru_steps", 3, g, h, weight, h.shape[-1] if h.ndim else 0)
    if bias is not None and bias.shape != weight.shape[1:]:
        raise ShapeError(
            f"gru_steps: bias does not fit weight\n  weight  {weight.shape}\n  bias    {bias.shape}"
        )
    wide = g.like((*g.shape[:2], 4 * h.shape[1]), g.scalar_type.accumulator)
    return g.like(shape=(*g.shape[:2], h.shape[1])), wide


@gru_steps.kernel(NUMPY, CUPY)
def gru_steps_arrays(g, h, weight, bias):
    """a = h @ weight + bias;  r, z = sigmoid(g + a), n = tanh(g + r * a);  h = n + z * (h - n)."""
    xp, size = namespace(g), h.shape[1]
    gates = xp.empty((*g.shape[:2], 4 * size), g.dtype)  # r, z, n, and a where it meets r
    y = xp.empty((*g.shape[:2], size), g.dtype)
    for t in range(g.shape[1]):
        a = h @ weight
        if bias is not None:
            a += bias
        now = gates[:, t]
        now[:, : 2 * size] = _sigmoid(xp, g[:, t, : 2 * size] + a[:, : 2 * size])
        now[:, 3 * size :] = a[:, 2 * size :]
        a = now[:, :size] * a[:, 2 * size :]
        now[:, 2 * size : 3 * size] = xp.tanh(g[:, t, 2 * size :] + a)
        new = now[:, 2 * size : 3 * size]
        h = new + now[:, size : 2 * size] * (h - new)
        y[:, t] = h
    return y, gates


@gru_steps.gradient("g", "h", "weight", "bias")
def gru_steps_gradient(y, g, h, weight, bias, *, gates):
    return lambda dy: gru_steps_back(dy, y, gates, h, weight, bias)


@gru_steps_back.outlined_by
def gru_steps_back_outline(dy, y, gates, h, weight, bias):
    dg = y.like(shape=(*gates.shape[:2], weight.shape[1]))
    return dg, h.like(), weight.like(), weight.like(shape=weight.shape[1:])


undoing(gru_steps_back, gru_steps)


@gru_steps_back.kernel(NUMPY, CUPY)
def gru_steps_back_arrays(dy, y, gates, h, weight, bias):
    """Back through time; `da` is the gradient of h @ weight + bias."""
    xp, size = namespace(gates), h.shape[1]
    dg = xp.empty((*gates.shape[:2], 3 * size), gates.dtype)
    da, dh, before = xp.empty_like(dg), xp.zeros_like(h), _before(y, h)
    for t in reversed(range(gates.shape[1])):
        dh = dh + dy[:, t]
        r, z, new, a = (gates[:, t, k * size : (k + 1) * size] for k in range(4))
        dnew = dh * (1 - z) * (1 - new * new)
        here = dg[:, t]
        here[:, :size] = dnew * a * r * (1 - r)
        here[:, size : 2 * size] = dh * (before[:, t] - new) * z * (1 - z)
        here[:, 2 * size :] = dnew
        da[:, t] = here
        da[:, t, 2 * size :] *= r
        dh = dh * z + da[:, t] @ weight.T
    return dg, dh, _dweight(before, da), da.sum(axis=(0, 1), dtype=da.dtype)


@gru_steps.composed_by
def gru_steps_parts(g, h, weight, bias=None):
    size, found = h.shape[1], []
    for t in range(g.shape[1]):
        b, a = index(g, key=(slice(None), t)), linear(h, weight, bias)
        r, z = (sigmoid(add(_part(b, size, k), _part(a, size, k))) for k in range(2))
        new = tanh(add(_part(b, size, 2), multiply(r, _part(a, size, 2))))
        h = add(new, multiply(z, subtract(h, new)))
        found.append(h)
    return _stacked(found)


# -- samples -----------------------------------------------------------------------------


@lstm_steps.sampled_by
def lstm_steps_samples(rng):
    for n, t, size in ((2, 3, 4), (1, 1, 2)):
        state, weight = rng.normal(size=(2, n, size)), rng.normal(size=(size, 4 * size))
        yield (rng.normal(size=(n, t, 4 * size)), *state, weight, None), {}
    g, h, c = rng.normal(size=(2, 3, 16)), rng.normal(size=(2, 3)), rng.normal(size=(2, 4))
    yield (g, h, c, rng.normal(size=(3, 16)), rng.normal(size=(4, 3))), {}


@gru_steps.sampled_by
def gru_steps_samples(rng):
    for n, t, size in ((2, 3, 4), (1, 1, 2)):
        h, weight = rng.normal(size=(n, size)), rng.normal(size=(size, 3 * size))
        bias = rng.normal(size=3 * size) if t > 1 else None
        yield (rng.normal(size=(n, t, 3 * size)), h, weight, bias), {}
