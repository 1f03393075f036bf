"""Compile a kernel together with all kernels below it, in one piece.

Numba compiles each function separately: it links a function with its callees, optimizes the result, generates machine code and
writes it to the cache, although pwlnet's callers use a dozen functions only. Here *inner* kernels are lowered to LLVM IR and no
further. An *entry* links the IR of all kernels below it, optimizes it once, and is cached as usual. That takes a third of the
time.

These classes use Numba's internals (``CodeLibrary``, the passes of ``DefaultPassBuilder``, the dispatcher). ``find_problem``
says what a version of Numba lacks, and ``_jit.py`` then compiles with plain ``njit``.
"""

import inspect

from numba.core import compiler, typed_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.registry import CPUDispatcher

from ._pointers import mark_arguments


class _Environments:
    """Keep the environments of an inner kernel until an entry has machine code that refers to them."""

    def __init__(self):
        self.known = []

    def set_env(self, name, environment):
        """Keep an environment; called by Numba where it would store its address in machine code."""
        self.known.append((name, environment))


class InnerLibrary(JITCodeLibrary):
    """The IR of a kernel that only kernels call."""

    def __init__(self, codegen, name):
        super().__init__(codegen, name)
        self.environments = _Environments()

    @property
    def codegen(self):
        """Stand in for the code generator, which Numba hands the environment to."""
        return self.environments

    def finalize(self):
        """Leave the IR as it is."""
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name):
        """Return a null pointer: there is no machine code."""
        return 0


def libraries_below(library):
    """List the libraries that a library calls, and those that inner ones among them call."""
    libraries, waiting = {}, list(library._linking_libraries)
    while waiting:
        callee = waiting.pop()
        if callee not in libraries:
            libraries[callee] = None
            if isinstance(callee, InnerLibrary):
                waiting += callee._linking_libraries
    return list(libraries)


class EntryLibrary(JITCodeLibrary):
    """The machine code of a kernel and of all kernels below it."""

    def finalize(self):
        """Link, optimize and compile."""
        libraries = libraries_below(self)
        for library in libraries:
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._optimize_final_module()
        self._final_module.verify()
        self._finalize_final_module()
        defined = {variable.name for variable in self._final_module.global_variables}
        for library in libraries:
            for name, environment in library.environments.known if isinstance(library, InnerLibrary) else ():
                if name in defined:
                    self._codegen.set_env(name, environment)


class _KernelLower(Lower):
    """Lowering that tells LLVM what is known of pointers to arrays."""

    def setup_function(self, fndesc):
        super().setup_function(fndesc)
        mark_arguments(self.function, fndesc)


@register_pass(mutates_CFG=True, analysis_only=False)
class _KernelLowering(typed_passes.BaseNativeLowering):
    """The pass that lowers a kernel."""

    _name = "pwlnet_kernel_lowering"

    @property
    def lowering_class(self):
        return _KernelLower


class _KernelCompiler(compiler.CompilerBase):
    """Numba's pipeline with another code library and lowering pass."""

    library_class = None

    def define_pipelines(self):
        state = self.state
        state.library = self.library_class(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        manager = compiler.DefaultPassBuilder.define_nopython_pipeline(state)
        passes = [_KernelLowering if kind is typed_passes.NativeLowering else kind for kind, _ in manager.passes]
        if passes.count(_KernelLowering) != 1:
            raise RuntimeError("Numba's pipeline has no NativeLowering pass; set PWLNET_PLAIN_NJIT=1 to compile without it")
        manager.passes = [(kind, text) for kind, (_, text) in zip(passes, manager.passes, strict=True)]
        return [manager]


class InnerCompiler(_KernelCompiler):
    """Compile a kernel that only kernels call."""

    library_class = InnerLibrary


class EntryCompiler(_KernelCompiler):
    """Compile a kernel that Python calls, or machine code by its address."""

    library_class = EntryLibrary


class InnerDispatcher(CPUDispatcher):
    """A kernel that Python cannot call."""

    def __call__(self, *arguments, **keywords):
        raise TypeError(
            f"{self.__name__} is an inner kernel, which only kernels can call; "
            f"call an entry kernel, or make one: entry_kernel({self.__name__}.py_func)"
        )


def find_problem():
    """Return what this version of Numba lacks of what the classes above use, as text, or None."""
    methods = {
        JITCodeLibrary: (
            "add_linking_library", "finalize", "_finalize_dynamic_globals", "_finalize_final_module",
            "_get_module_for_linking", "_optimize_final_module", "enable_object_caching", "get_pointer_to_function",
        ),
        compiler.CompilerBase: ("define_pipelines",),
        compiler.DefaultPassBuilder: ("define_nopython_pipeline", "define_nopython_lowering_pipeline"),
        typed_passes.BaseNativeLowering: ("run_pass", "lowering_class"),
        Lower: ("setup_function",),
        CPUDispatcher: ("compile", "__call__"),
    }  # fmt: skip
    for owner, names in methods.items():
        for name in names:
            if not hasattr(owner, name):
                return f"numba's {owner.__name__} has no {name}"
    parameters = list(inspect.signature(JITCodeLibrary.__init__).parameters)
    if parameters != ["self", "codegen", "name"]:
        return f"numba's JITCodeLibrary is made from {parameters}"
    return None
