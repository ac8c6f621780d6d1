"""torchvision: its loader with the transforms of most training scripts, and its `MaskRCNN`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign

from mae.benchmark.inputs import DenseInputs, LoaderInputs
from mae.benchmark.peers import Peer, decay_groups, renamed
from mae.models.layers.conv import ConvNorm
from mae.models.necks import PyramidBackbone
from mae.utils.seeding import seed_generators

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def loader(inputs: LoaderInputs) -> DataLoader[Any]:
    """Bicubic crop, flip, tensor, normalise, all on Pillow images in the workers."""
    crop = inputs.crop
    pipeline = transforms.Compose(
        [
            transforms.RandomResizedCrop(
                crop['size'], crop['scale'], interpolation=transforms.InterpolationMode.BICUBIC
            ),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(_MEAN, _STD),
        ]
    )
    images = ImageFolder(str(inputs.root), pipeline)
    return DataLoader(Subset(images, inputs.indices), **inputs.options)


_RULES = (
    (r'^(encoder|neck)\.', r'backbone.\1.'),
    (r'^rpn\.network\.', 'rpn.'),
    (r'^roi\.stages\.box_predictor\.classes\.', 'roi_heads.box_predictor.cls_score.'),
    (r'^roi\.stages\.box_predictor\.offsets\.', 'roi_heads.box_predictor.bbox_pred.'),
    (r'^roi\.stages\.', 'roi_heads.'),
    (r'^roi\.mask_head\.convs\.', 'roi_heads.mask_head.'),
    (r'^roi\.mask_head\.enlarge\.', 'roi_heads.mask_predictor.conv5_mask.'),
    (r'^roi\.mask_head\.classify\.', 'roi_heads.mask_predictor.mask_fcn_logits.'),
)


def train_detector(inputs: DenseInputs) -> dict[str, Callable[[], Peer]]:
    """`MaskRCNN` around our encoder and any neck, with our anchors, widths and norms."""
    return {'': partial(_detector, inputs)}


def _detector(inputs: DenseInputs) -> Peer:
    model = _mask_rcnn(inputs.model)
    model.load_state_dict(_detector_weights(inputs), strict=True)
    targets = [
        {
            'boxes': things['boxes'],
            'labels': things['classes'] + 1,  # 0 is no object
            'masks': things['masks'].to(torch.uint8),
        }
        for things in inputs.targets['objects']
    ]

    def loss(size: int) -> Tensor:
        found = model(list(inputs.images[:size]), targets[:size])
        return torch.stack(list(found.values())).sum()

    def check() -> Tensor:
        seed_generators(inputs.settings.seed)  # the samples of the losses follow
        return loss(len(targets))

    return Peer(
        inputs.settings,
        model,
        forward=loss,
        check=check,
        groups=decay_groups(model, inputs.weight_decay),
        betas=inputs.betas,
    )


def _mask_rcnn(ours: Any) -> MaskRCNN:
    """Of the shape of our detector; images come normalised and of one size."""
    roi, network = ours.roi, ours.rpn.network
    anchors = network.anchor_generator
    backbone = PyramidBackbone(ours.encoder, ours.neck, ours.taps)
    channels, side = backbone.out_channels, roi.stages.box_roi_pool.size
    first = next(module for module in roi.modules() if isinstance(module, ConvNorm))
    norm = type(first[1])
    width = first[0].out_channels
    box_widths = [width for layer in roi.stages.box_head if isinstance(layer, ConvNorm)]
    hidden = roi.stages.box_predictor.classes.in_features
    pools = [MultiScaleRoIAlign(['0', '1', '2', '3'], size, 0) for size in (side, 14)]
    model = MaskRCNN(
        backbone,
        num_classes=None,  # the predictors state it
        rpn_anchor_generator=AnchorGenerator(anchors.sizes, anchors.aspect_ratios),
        rpn_head=RPNHead(
            channels, anchors.num_anchors_per_location()[0], conv_depth=len(network.head.conv)
        ),
        rpn_pre_nms_top_n_train=network._pre_nms_top_n['training'],
        rpn_post_nms_top_n_train=network._post_nms_top_n['training'],
        rpn_batch_size_per_image=network.fg_bg_sampler.batch_size_per_image,
        box_batch_size_per_image=roi.stages.fg_bg_sampler.batch_size_per_image,
        box_roi_pool=pools[0],
        box_head=FastRCNNConvFCHead((channels, side, side), box_widths, [hidden], norm_layer=norm),
        box_predictor=FastRCNNPredictor(hidden, ours.num_classes + 1),
        mask_roi_pool=pools[1],
        mask_head=MaskRCNNHeads(channels, [width] * 4, 1, norm_layer=norm),
        mask_predictor=MaskRCNNPredictor(width, width, ours.num_classes + 1),
    )
    model.transform = _Ready()
    return model


class _Ready(nn.Module):
    """In the place of a transform that would resize images to the size that they have."""

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> tuple[ImageList, list[dict[str, Tensor]]]:
        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        return ImageList(torch.stack(images), sizes), targets

    def postprocess(self, detections: list[dict[str, Tensor]], *sizes: Any) -> Any:
        return detections  # none in training


def _detector_weights(inputs: DenseInputs) -> dict[str, Tensor]:
    """Ours under their names; their masks have a class for no object."""
    found = renamed(inputs.weights, _RULES)
    for kind in ('weight', 'bias'):
        name = f'roi_heads.mask_predictor.mask_fcn_logits.{kind}'
        found[name] = torch.cat([torch.zeros_like(found[name][:1]), found[name]])
    return found
