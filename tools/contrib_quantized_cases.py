"""Cases of make_contrib_goldens.py: quantised values."""
import numpy as np
from make_contrib_goldens import Constant, case, rng_of
from onnx import TensorProto

F32, F16, U8, I8, I32, I64 = np.float32, np.float16, np.uint8, np.int8, np.int32, np.int64


def write_cases():
    pass
