"""Plans of nnU-Net's for a network of a few channels, as its planner writes them."""

from typing import Any


def make_plans(
    side: int = 96,
    dimensions: int = 3,
    forward: tuple[int, ...] = (0, 1, 2),
    normalization: tuple[str, ...] = ("ZScoreNormalization",) * 4,
) -> dict[str, Any]:
    """Plans with the one configuration ``3d_fullres`` or ``2d``, and a normalization for each channel."""
    convolution = f"torch.nn.modules.conv.Conv{dimensions}d"
    network = {
        "n_stages": 3,
        "features_per_stage": [2, 4, 8],
        "conv_op": convolution,
        "kernel_sizes": [[3] * dimensions] * 3,
        "strides": [[1] * dimensions, [2] * dimensions, [2] * dimensions],
        "n_conv_per_stage": [1] * 3,
        "n_conv_per_stage_decoder": [1] * 2,
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    configuration = {
        "data_identifier": "nnUNetPlans_any",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [side] * dimensions,
        "spacing": [1.0] * dimensions,
        "normalization_schemes": list(normalization),
        "use_mask_for_norm": [name == "ZScoreNormalization" for name in normalization],
        "batch_dice": dimensions == 2,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": network,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    return {
        "dataset_name": "Dataset137_Small",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(forward),
        "transpose_backward": [forward.index(axis) for axis in range(3)],
        "label_manager": "LabelManager",
        "configurations": {"3d_fullres" if dimensions == 3 else "2d": configuration},
        "continue_training": False,
    }
