"""Views of parts of vectors as matrices, without the checks of slicing and reshaping, which are slow to compile."""

from numba.core import cgutils, types
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array


@intrinsic
def matrix_view(typing_context, vector, first, rows, columns):
    """View ``rows * columns`` entries of a contiguous vector from ``first`` on as a matrix."""
    matrix = vector.copy(ndim=2)

    def generate(context, builder, signature, arguments):
        source = context.make_array(signature.args[0])(context, builder, arguments[0])
        result, (_, first, rows, columns) = context.make_array(matrix)(context, builder), arguments
        populate_array(
            result,
            data=cgutils.gep(builder, source.data, first),
            shape=(rows, columns),
            strides=(builder.mul(columns, source.itemsize), source.itemsize),
            itemsize=source.itemsize,
            meminfo=source.meminfo,
            parent=source.parent,
        )
        return impl_ret_borrowed(context, builder, matrix, result._getvalue())

    return matrix(vector, types.intp, types.intp, types.intp), generate
