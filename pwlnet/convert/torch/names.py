"""Names of torch operations and layers, grouped by how the torch reader treats them."""


def _words(text):
    return frozenset(text.split())


# Operations that only copy entries.
LAYOUTS = _words(
    "view reshape flatten unflatten permute transpose swapaxes swapdims movedim moveaxis t T mT H mH squeeze "
    "unsqueeze expand expand_as view_as reshape_as broadcast_to chunk split split_with_sizes tensor_split unbind "
    "narrow select slice getitem index index_select gather take take_along_dim flip fliplr flipud roll rot90 repeat "
    "tile repeat_interleave pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle diagonal tril triu unfold "
    "im2col ravel adjoint _unsafe_view squeeze_copy atleast_1d atleast_2d atleast_3d"
)

# Operations that are no-ops in eval mode and in exact arithmetic, and may return their input itself.
KEPT = _words(
    "contiguous detach to float double half bfloat16 cpu cuda type type_as alias data real requires_grad positive pos "
    "_to_copy lift_fresh lift_fresh_copy resolve_conj resolve_neg identity"
)

# Operations that copy entries of several tensors.
MERGED = _words("stack hstack vstack dstack column_stack slice_scatter select_scatter")

# Functions at the end of a classifier, which are dropped there, and operations after them that keep or move entries.
ENDS = _words(
    "softmax log_softmax softmin special_softmax special_log_softmax sigmoid special_expit log_sigmoid logsigmoid argmax"
)

MOVED_AFTER_ENDS = LAYOUTS | KEPT | MERGED | {"clone", "cat", "concat", "concatenate"}

# Dropout whose functional form is active by default, and dropout whose functional form is not.
DROPOUTS = _words("dropout dropout1d dropout2d dropout3d feature_dropout")

ALPHA_DROPOUTS = _words("alpha_dropout feature_alpha_dropout")

# Operations that depend on the shape and dtype of an activation only.
QUERIES = _words(
    "size shape dim ndim ndimension numel nelement dtype device layout is_floating_point is_complex is_cuda "
    "requires_grad len is_tensor zeros_like ones_like full_like new_zeros new_ones new_full new_tensor"
)

# Operations whose results differ from call to call.
RANDOM = _words(
    "rand randn randint randperm rand_like randn_like randint_like normal bernoulli multinomial uniform normal_ "
    "uniform_ bernoulli_ random_ exponential_"
)

# Checks that return nothing.
ASSERTIONS = _words(
    "_assert_tensor_metadata _assert_async _assert _assert_scalar _check sym_constrain_range sym_constrain_range_for_size print"
)

# Kinds (lower case, without underscores) that are not piecewise linear and therefore refused.
NOT_PIECEWISE_LINEAR = _words(
    "sigmoid tanh gelu silu mish softplus elu celu selu hardswish logsigmoid softsign tanhshrink softmin "
    "glu layernorm groupnorm instancenorm instancenorm1d instancenorm2d instancenorm3d localresponsenorm rmsnorm "
    "normalize multiheadattention scaleddotproductattention transformer transformerencoder transformerencoderlayer "
    "transformerdecoder transformerdecoderlayer lstm gru rnn lstmcell grucell rnncell exp expm1 log log1p sqrt rsqrt "
    "pow square reciprocal sin cos erf norm std var logsumexp logaddexp prod cumprod"
)

# Kinds whose results jump.
NOT_CONTINUOUS = _words(
    "hardshrink gt lt ge le eq ne greater less greaterequal lessequal notequal equal argmax argmin argsort searchsorted "
    "bucketize sign sgn floor ceil round trunc frac heaviside onehot nonzero isnan isfinite logicalnot bool int long short "
    "floordivide floordiv fmod remainder mod unique histc"
)

# Methods that give Python or NumPy values.
VALUES = _words("item numpy tolist localscalardense")

# Layers of torch.nn that are traced through, to the functions that they call.
THROUGH_LAYERS = _words(
    "Sequential ModuleList ModuleDict Identity Linear Conv1d Conv2d ConvTranspose1d ConvTranspose2d ReLU ReLU6 "
    "LeakyReLU PReLU RReLU Hardtanh Hardsigmoid Threshold Softshrink Hardshrink Softmax LogSoftmax Softmin Softmax2d "
    "Bilinear PairwiseDistance "
    "Sigmoid LogSigmoid MaxPool1d MaxPool2d AvgPool1d "
    "AvgPool2d AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveMaxPool1d AdaptiveMaxPool2d Flatten Unflatten Dropout "
    "Dropout1d Dropout2d AlphaDropout FeatureAlphaDropout ZeroPad1d ZeroPad2d ConstantPad1d ConstantPad2d "
    "ReflectionPad1d ReflectionPad2d ReplicationPad1d ReplicationPad2d PixelShuffle PixelUnshuffle ChannelShuffle "
    "Upsample UpsamplingNearest2d UpsamplingBilinear2d Conv3d ConvTranspose3d MaxPool3d AvgPool3d AdaptiveAvgPool3d "
    "AdaptiveMaxPool3d Dropout3d ZeroPad3d ConstantPad3d ReflectionPad3d ReplicationPad3d "
    "Bilinear Fold Unfold LPPool1d LPPool2d LPPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d"
)
