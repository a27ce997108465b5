"""Regions of the synthetic Earth: how streets run, what blocks contain, and what grows there."""

from dataclasses import dataclass, replace
from typing import Final, Literal

from crossearth.synthetic import built, details, open_land
from crossearth.synthetic.details import M, Painter, Taste, Weighted
from crossearth.synthetic.plan import Number
from crossearth.synthetic.spectra import Climate

__all__ = ['REGIONS', 'Region', 'RegionStyle', 'taste_of']

type Region = Literal['grid_city', 'old_town', 'suburb', 'village']


# many arguments: settings of a region's appearance, with values in the tables below
@dataclass(frozen=True, slots=True)
class RegionStyle:
    """The plan of a region; lengths in metres, ranges are drawn from uniformly.

    Args:
        street: Width of streets, without pavements.
        avenue: Width of avenues.
        avenue_share: How many of the long streets are avenues.
        pavement: Width of a pavement; 0 for none.
        column: Distance between long streets.
        block: Distance between cross streets.
        shared_cross: Whether cross streets run through, as in a grid.
        roads: Surfaces of roads, by weight.
        marked: Whether lanes are marked.
        parked: Share of the kerb that cars occupy.
        street_trees: Share of pavements with trees.
        bend: Amplitude of the bends of the whole plan.
        bend_length: Wavelength of the bends.
        waterway: Probability that a column is a river or canal.
        railway: Probability that a column is a railway.
        fills: What blocks contain, by weight.
        taste: How it builds and plants.
    """

    street: tuple[Number, Number]
    avenue: tuple[Number, Number]
    avenue_share: Number
    pavement: Number
    column: tuple[Number, Number]
    block: tuple[Number, Number]
    shared_cross: bool
    roads: Weighted
    marked: bool
    parked: Number
    street_trees: Number
    bend: Number
    bend_length: tuple[Number, Number]
    waterway: Number
    railway: Number
    fills: tuple[tuple[Painter, Number], ...]
    taste: Taste


_TREES: Final[Weighted] = (
    (M.BROADLEAF, 5),
    (M.BROADLEAF_LIGHT, 2.5),
    (M.BROADLEAF_DARK, 2),
    (M.CONIFER, 1.2),
)
_CROPS: Final[Weighted] = (
    (M.CROP_GREEN, 4),
    (M.CROP_RIPE, 3),
    (M.FALLOW, 2),
    (M.MEADOW, 2),
)

REGIONS: Final[dict[Region, RegionStyle]] = {
    'grid_city': RegionStyle(
        street=(8.0, 11.0),
        avenue=(15.0, 21.0),
        avenue_share=0.3,
        pavement=3.0,
        column=(62, 95),
        block=(75, 150),
        shared_cross=True,
        roads=((M.ASPHALT, 4), (M.ASPHALT_NEW, 1)),
        marked=True,
        parked=0.55,
        street_trees=0.5,
        bend=0.0,
        bend_length=(300, 500),
        waterway=0.025,
        railway=0.025,
        fills=(
            (built.closed_block, 5.0),
            (built.slabs, 3.0),
            (built.offices, 1.6),
            (built.works, 1.2),
            (open_land.park, 1.3),
            (details.parking, 0.5),
            (built.terraces, 1.0),
            (built.building_site, 1.0),
        ),
        taste=Taste(
            pitched=((M.TILE_BROWN, 3), (M.SLATE, 3), (M.TILE_RED, 0.5)),
            level=((M.BITUMEN, 3), (M.GRAVEL_ROOF, 4), (M.MEMBRANE, 1.2), (M.METAL_GREY, 1)),
            pitched_share=0.4,
            storeys=(4, 6),
            frontage=(14, 24),
            row_depth=(11, 14),
            trees=_TREES,
            greenness=1.0,
            yards=((M.PAVING, 3), (M.GRAVEL, 1), (M.LAWN, 2), (M.CONCRETE, 1)),
            crops=_CROPS,
        ),
    ),
    'old_town': RegionStyle(
        street=(4.5, 7.0),
        avenue=(8.0, 11.0),
        avenue_share=0.25,
        pavement=0.9,
        column=(28, 52),
        block=(30, 75),
        shared_cross=False,
        roads=((M.COBBLES, 4), (M.ASPHALT, 2), (M.PAVING, 2)),
        marked=False,
        parked=0.22,
        street_trees=0.08,
        bend=9.0,
        bend_length=(150, 280),
        waterway=0.025,
        railway=0.0,
        fills=(
            (built.closed_block, 9.0),
            (built.square, 0.6),
            (open_land.park, 0.7),
            (built.terraces, 0.8),
            (details.parking, 0.25),
            (built.gardens, 0.6),
            (built.building_site, 0.5),
        ),
        taste=Taste(
            pitched=((M.TILE_ORANGE, 5), (M.TILE_RED, 4), (M.TILE_BROWN, 1.5), (M.SLATE, 0.5)),
            level=((M.GRAVEL_ROOF, 2), (M.BITUMEN, 2), (M.METAL_GREY, 0.6)),
            pitched_share=0.93,
            storeys=(2, 4),
            frontage=(6, 12),
            row_depth=(8, 12),
            trees=_TREES,
            greenness=0.8,
            yards=((M.COBBLES, 2), (M.PAVING_RED, 2), (M.GRAVEL, 1), (M.LAWN, 2)),
            crops=_CROPS,
        ),
    ),
    'suburb': RegionStyle(
        street=(6.0, 7.5),
        avenue=(9.0, 12.0),
        avenue_share=0.15,
        pavement=1.6,
        column=(58, 80),
        block=(80, 190),
        shared_cross=False,
        roads=((M.ASPHALT, 5), (M.ASPHALT_NEW, 1)),
        marked=False,
        parked=0.16,
        street_trees=0.3,
        bend=13.0,
        bend_length=(330, 520),
        waterway=0.02,
        railway=0.03,
        fills=(
            (built.gardens, 8.0),
            (built.terraces, 1.5),
            (open_land.park, 0.9),
            (open_land.meadow, 0.7),
            (built.slabs, 0.6),
            (built.works, 0.5),
            (details.parking, 0.25),
            (built.building_site, 0.5),
            (open_land.forest, 0.5),
        ),
        taste=Taste(
            pitched=((M.TILE_BROWN, 3), (M.SLATE, 3), (M.TILE_RED, 2), (M.METAL_GREY, 1.5)),
            level=((M.BITUMEN, 2), (M.GRAVEL_ROOF, 1), (M.METAL_GREY, 1)),
            pitched_share=0.85,
            storeys=(1, 2),
            frontage=(10, 16),
            row_depth=(9, 11),
            trees=_TREES,
            greenness=1.0,
            yards=((M.LAWN, 1),),
            crops=_CROPS,
        ),
    ),
    'village': RegionStyle(
        street=(4.5, 6.0),
        avenue=(7.0, 8.5),
        avenue_share=0.15,
        pavement=0.0,
        column=(75, 140),
        block=(70, 210),
        shared_cross=False,
        roads=((M.ASPHALT, 4), (M.DIRT_ROAD, 2), (M.GRAVEL, 1)),
        marked=False,
        parked=0.05,
        street_trees=0.2,
        bend=16.0,
        bend_length=(340, 560),
        waterway=0.05,
        railway=0.03,
        fills=(
            (built.gardens, 4.6),
            (open_land.field, 4.0),
            (open_land.meadow, 1.6),
            (open_land.farm, 1.7),
            (open_land.orchard, 0.7),
            (open_land.forest, 0.9),
            (built.building_site, 0.3),
        ),
        taste=Taste(
            pitched=((M.TILE_RED, 4), (M.TILE_ORANGE, 2), (M.TILE_BROWN, 2), (M.METAL_RUST, 0.8)),
            level=((M.BITUMEN, 2), (M.METAL_GREY, 1)),
            pitched_share=0.94,
            storeys=(1, 2),
            frontage=(10, 16),
            row_depth=(9, 11),
            trees=_TREES,
            greenness=1.0,
            yards=((M.LAWN, 1),),
            crops=_CROPS,
        ),
    ),
}


def taste_of(region: Region, climate: Climate) -> Taste:
    """How a region builds and plants under a climate."""
    taste = REGIONS[region].taste
    match climate:
        case 'temperate':
            return taste
        case 'arid':
            return replace(
                taste,
                greenness=taste.greenness * 0.35,
                pitched=((M.TILE_ORANGE, 3), (M.TILE_BROWN, 1)),
                level=((M.MEMBRANE, 2), (M.GRAVEL_ROOF, 5), (M.METAL_GREY, 0.5)),
                pitched_share=taste.pitched_share * 0.45,
                crops=((M.FALLOW, 4), (M.CROP_GREEN, 1.5), (M.CROP_RIPE, 2)),
            )
        case 'tropical':
            return replace(
                taste,
                greenness=taste.greenness * 1.6,
                pitched=(
                    (M.METAL_RUST, 3),
                    (M.METAL_GREY, 3),
                    (M.TILE_ORANGE, 3),
                    (M.METAL_BLUE, 1),
                ),
                trees=((M.BROADLEAF, 4), (M.BROADLEAF_LIGHT, 4), (M.BROADLEAF_DARK, 3)),
                crops=((M.CROP_GREEN, 5), (M.FALLOW, 2), (M.CROP_RIPE, 1)),
            )
        case 'winter':
            return replace(
                taste,
                greenness=taste.greenness * 0.9,
                crops=((M.FALLOW, 4), (M.CROP_GREEN, 2), (M.CROP_RIPE, 2)),
            )
