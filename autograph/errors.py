"""Every error that autograph raises on purpose.

* AutographError
  + ShapeError        arrays do not fit together                    (ValueError)
  + ScalarTypeError   a scalar type that is not taken               (TypeError)
  + NumericError      a singular matrix                             (ArithmeticError)
    + DivisionError   an integer divided by zero                    (ZeroDivisionError)
  + IndexRangeError   an index, class or axis out of range          (IndexError)
  + DeviceError       tensors on different devices, or none there   (RuntimeError)
  + MemoryLimitError  a device or the host has no memory left       (MemoryError)
  + NoKernelError     no usable kernel for an op                    (NotImplementedError)
  + KernelError       a kernel that cannot be compiled              (RuntimeError)
  + SettingsError     settings that a builder or op does not take   (ValueError)
  + DeclarationError  a layer class that cannot be derived          (TypeError)
  + GraphError        the backward graph is missing or used up      (RuntimeError)
  + CaptureError      a step that cannot be replayed                (RuntimeError)
  + CheckpointError   a file that is damaged or does not fit        (ValueError)
  + NonFiniteError    training made a NaN or an infinity            (ArithmeticError)
  + DataError         a data set that is missing, damaged or wrong  (ValueError)

Each is also the builtin in brackets, so that callers who know no autograph can catch it.
"""


class AutographError(Exception):
    """Base class: `except AutographError` catches all of the above."""


class ShapeError(AutographError, ValueError):
    """Arrays do not fit together."""


class ScalarTypeError(AutographError, TypeError):
    """A scalar type that is not taken here."""


class NumericError(AutographError, ArithmeticError):
    """A result that mathematics does not give, where no NaN can stand for it."""


class DivisionError(NumericError, ZeroDivisionError):
    """An integer is divided by zero."""


class IndexRangeError(AutographError, IndexError):
    """An index, class or axis is out of range."""


class DeviceError(AutographError, RuntimeError):
    """Tensors are on different devices, or the device is not there."""


class MemoryLimitError(AutographError, MemoryError):
    """A device or the host has no memory left."""


class NoKernelError(AutographError, NotImplementedError):
    """No usable kernel is registered for an op."""


class KernelError(AutographError, RuntimeError):
    """A kernel cannot be compiled."""


class SettingsError(AutographError, ValueError):
    """Settings that a builder or an op does not take."""


class DeclarationError(AutographError, TypeError):
    """A layer class cannot be derived from its declaration."""


class GraphError(AutographError, RuntimeError):
    """The backward graph is missing or was used up."""


class CaptureError(AutographError, RuntimeError):
    """A step cannot be replayed."""


class CheckpointError(AutographError, ValueError):
    """A file is damaged, or does not fit the model."""


class NonFiniteError(AutographError, ArithmeticError):
    """Training made a value that is not finite."""


class DataError(AutographError, ValueError):
    """A data set is missing, damaged or not what was asked for."""
