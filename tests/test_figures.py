"""Figures: what they say, how a reader tells their lines, and what they refuse."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from nbkit import data, figures
from nbkit.experiments import classification, pretraining, transfer
from nbkit.figures import style
from nbkit.figures.claims import OUTCOMES, UNTESTED


@pytest.fixture(autouse=True)
def _styled():
    with matplotlib.rc_context():
        figures.use_style()
        yield


def titled(*titles, figure_title=None, label=""):
    figure, axes = style.grid(1, len(titles), (2, 1))
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, loc="center" if title == "middle" else "left")
    figure.suptitle(figure_title)
    figure.set_label(label)
    return figure


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        (titled("a", "b", figure_title="whole", label="made of\ntwo"), "made of two"),
        (titled("a", "b", figure_title="whole"), "whole"),
        (titled("a\n90 %", "middle", "", "middle"), "a 90 %; middle"),
        (titled(""), style.UNTITLED),
    ],
    ids=["label", "title", "axes", "none"],
)
def test_a_figure_is_told_in_words(figure, words):
    assert figures.alternative(figure) == words


@pytest.fixture(scope="module")
def scenes():
    return data.scenes(6)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_legend_names_the_classes_that_are_there(scenes):
    masks = scenes.masks()[:2]
    present = [f"{k} {scenes.classes[k]}" for k in np.unique(masks) if 0 < k < 255]
    figure = figures.masks(scenes.images[:2], masks, ["a", "b"], scenes.classes)
    assert legend(figure) == [*present, "void"]


def test_a_class_has_the_color_of_the_legend_in_every_image(scenes):
    image = np.full((2, 8, 8, 3), 128, dtype=np.uint8)
    masks = np.zeros((2, 8, 8), dtype=np.uint8)
    masks[:, 2:6, 2:6] = np.array([3, 3])[:, None, None]
    masks[1, 0, 0] = 1
    figure = figures.masks(image, masks, ["a", "b"], scenes.classes)
    patch = figure.legends[0].get_patches()[-1].get_facecolor()[:3]
    for axis in figure.axes:
        picture = axis.get_images()[0].get_array()
        edge = picture[len(picture) // 4, len(picture) // 2]
        assert tuple(edge) == pytest.approx(patch)


def test_a_mask_of_zeros_shows_the_bare_image(scenes):
    figure = figures.masks(scenes.images[:1], 0 * scenes.masks()[:1], ["a"], scenes.classes)
    picture = figure.axes[0].get_images()[0].get_array()
    factor = len(picture) // scenes.images.shape[1]
    assert np.allclose(picture[::factor, ::factor], scenes.images[0] / 255)


def test_a_region_carries_its_number_within_itself(scenes):
    masks = scenes.masks()[:4]
    figure = figures.masks(scenes.images[:4], masks, list("abcd"), scenes.classes)
    written = 0
    for mask, axis in zip(masks, figure.axes, strict=True):
        factor = len(axis.get_images()[0].get_array()) // len(mask)
        for text in axis.texts:
            x, y = (int(place) // factor for place in text.get_position())
            assert mask[y, x] == int(text.get_text())
            written += 1
    assert written >= 4


def test_only_what_is_outlined_has_a_line(scenes):
    images, masks = scenes.images[:2], scenes.masks()[:2]
    outlined = np.zeros(masks.shape, dtype=bool)
    outlined[1, 10:20, 10:20] = True
    figure = figures.masks(images, masks, ["a", "b"], scenes.classes, outlined=outlined)
    assert [len(axis.collections) > 0 for axis in figure.axes] == [False, True]


BAD = {
    "images and masks differ": (4, 3, 3, "images must be"),
    "titles are too few": (3, 3, 2, "titles N"),
}


@pytest.mark.parametrize(("images", "masks", "titles", "says"), BAD.values(), ids=BAD)
def test_shapes_that_disagree_are_refused(images, masks, titles, says, scenes):
    with pytest.raises(ValueError, match=says):
        figures.masks(
            scenes.images[:images], scenes.masks()[:masks], ["a"] * titles, scenes.classes
        )


def test_a_class_without_a_name_is_refused(scenes):
    with pytest.raises(ValueError, match=r"masks hold \[.*classes names 0..1"):
        figures.masks(scenes.images, scenes.masks(), ["a"] * 6, scenes.classes[:2])


def test_outlines_of_another_shape_are_refused(scenes):
    with pytest.raises(ValueError, match="outlined must be"):
        figures.masks(
            scenes.images, scenes.masks(), ["a"] * 6, scenes.classes, outlined=np.ones((6, 2, 2))
        )


def test_a_transition_matrix_shows_its_shares_and_hides_zeros():
    matrix = np.array([[1.0, 0.0], [0.25, 0.75]])
    figure = figures.transitions({"one": matrix, "two": np.eye(2)}, ["0", "1"], ["0", "1"], "both")
    written = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert written == [["1.00", "", "0.25", "0.75"], ["1.00", "", "", "1.00"]]
    assert [axis.get_title(loc="left") or axis.get_title() for axis in figure.axes] == [
        "one",
        "two",
    ]


@pytest.mark.parametrize("panels", [1, 2, 3])
def test_the_legend_of_moons_lies_within_the_figure(panels):
    points, observed = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2
    panel = {"title": "t", "points": points, "observed": observed, "true": observed}
    panel |= {"probability": lambda at: 1 / (1 + np.exp(-at[:, 0]))}
    figure = figures.side_by_side([panel] * panels)
    figure.canvas.draw()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_a_claim_has_the_colour_of_its_outcome_where_it_was_tested():
    lines = [
        ("one", "x", "+0.1", "holds"),
        ("one", "y", "-0.2", "the other way round"),
        ("two", "y", "+0.0", "not told apart"),
        ("two", "draft", "+0.3", UNTESTED),
        ("one", "draft", None, None),  # not run
        ("one", "z, long", "+0.4", "holds"),
    ]
    frame = pd.DataFrame(lines, columns=["claim", "data", "shown", "outcome"])
    (axis,) = figures.verdicts({"losses": frame}, "title").axes
    rows, columns = ["one", "two"], ["x", "y", "draft", "z, long"]
    assert [label.get_text() for label in axis.get_yticklabels()] == rows
    assert [label.get_text() for label in axis.get_xticklabels()] == [*columns[:3], "z,\nlong"]
    written = {text.get_position(): text.get_text() for text in axis.texts}
    (mesh,) = axis.collections
    mesh.update_scalarmappable()
    colours = mesh.get_facecolors().reshape(len(rows), len(columns), 4)
    run = [line for line in lines if line[-1]]
    for claim, name, shown, outcome in run:
        row, column = rows.index(claim), columns.index(name)
        assert written[column + 0.5, row + 0.5] == shown
        assert to_hex(colours[row, column]) == OUTCOMES.get(outcome, "#FFFFFF").lower()
    assert {text for text in written.values() if text} == {line[2] for line in run}
    assert (colours[..., 3] == 0).sum() == colours[..., 3].size - len(run), "not run: no colour"


@pytest.mark.parametrize("panels", [1, 3, 4, 5])
def test_every_panel_of_numbers_has_its_axis_named(panels):
    frame = pd.DataFrame({"theirs": 0.2, "ours": 0.3, "row": "a", "panel": range(panels)})
    options = {"x": "theirs", "y": "ours", "by": "row", "panel": "panel", "labels": ("x", "y", "")}
    axes = figures.parity(frame, **options).axes
    assert [axis.get_visible() and axis.axison for axis in axes].count(True) == panels
    columns = min(panels, 3)
    assert [axis.get_xlabel() for axis in axes[panels - columns : panels]] == ["x"] * columns
    assert all(axis.get_ylabel() == "y" for axis in axes[::columns])


def test_numbers_that_agree_lie_on_the_diagonal():
    frame = pd.DataFrame({"theirs": [0.2, 0.9], "ours": [0.2, np.nan], "row": ["a", "b"]})
    figure = figures.parity(
        frame.assign(panel="p"), x="theirs", y="ours", by="row", panel="panel", labels=("", "", "")
    )
    (axis,) = figure.axes
    (line,) = axis.lines
    np.testing.assert_array_equal(*line.get_data())
    first, _ = axis.collections
    assert first.get_offsets().tolist() == [[0.2, 0.2]]
    low, high = axis.get_xlim()
    assert low < 0.2
    assert high >= 0.9
    assert axis.get_ylim() == (low, high)


def test_a_marker_is_filled_where_a_row_is_told_apart():
    told = {"difference": [0.1, -0.1, 0.0], "low": [0.0, -0.2, -0.1], "high": [0.2, 0.0, 0.1]}
    told |= {"n": [5, 5, 2], "verdict": ["higher", "not told apart", "not told apart"]}
    frame = pd.DataFrame(told, index=["a", "b", "c"])
    figure = figures.differences({"digits": frame}, label="", title="")
    (axis,) = figure.axes
    empty = [line for line in axis.lines if line.get_markerfacecolor() == "white"]
    assert [place for line in empty for place in line.get_ydata()] == [1, 2]
    names = [text.get_text() for text in axis.get_legend().get_texts()]
    assert names == ["digits (n = 2 to 5)", "not told apart after Holm"]


def test_a_marker_grows_with_the_loss_of_its_example_and_hidden_positives_have_a_black_edge():
    panel = {"points": np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]]), "title": ""}
    panel |= {"observed": np.array([0, 0, 0, 1]), "true": np.array([0, 1, 0, 1])}
    panel |= {"loss": np.array([0.0, 2, 1, 5]), "slope": np.zeros(4)}
    panel["probability"] = lambda points: points[:, 0].clip(0, 1)
    above, below = (axis.collections[-2] for axis in figures.moons_grid([panel]).axes)
    assert np.argsort(above.get_sizes()).tolist() == [0, 2, 1]
    assert len(set(below.get_sizes())) == 1
    edges = [to_hex(color) for color in above.get_edgecolors()]
    assert edges == ["#ffffff", "#000000", "#ffffff"]


def test_rates_and_walls_show_what_they_are_given():
    table = pd.DataFrame([[0.1, np.nan], [0.95, 0.5]], index=["a", "b"], columns=["x", "y"])
    (axis,) = figures.rates(table, label="", title="").axes
    assert [text.get_text() for text in axis.texts] == ["0.10", "0.95", "0.50"]
    images = np.arange(2 * 3 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 4, 3)
    captions = [["a", "b", "c"], ["d", "e", "f"]]
    axes = figures.wall(images, captions, ["one", "two"]).axes
    for axis, image, caption in zip(axes, images.reshape(6, 4, 4, 3), "abcdef", strict=True):
        np.testing.assert_array_equal(axis.get_images()[0].get_array(), image)
        assert axis.get_title() == caption
    assert [axes[0].get_ylabel(), axes[3].get_ylabel()] == ["one", "two"]
    assert figures.alternative(axes[0].figure) == "Rows of small images: one; two"


@pytest.mark.parametrize(
    ("shape", "drawn"), [((64,), (8, 8)), ((20,), (1, 20)), ((4, 5, 3), (4, 5, 3))]
)
def test_features_are_shown_as_a_square_or_a_strip(shape, drawn):
    figure = figures.gallery(np.zeros((2, *shape), np.float32), ["a", "b"], "")
    shown = [axis.get_images()[0].get_array().shape for axis in figure.axes if axis.get_images()]
    assert shown == [drawn] * 2


def test_a_rank_is_marked_at_the_mean_of_its_runs():
    frame = pd.DataFrame({"row": ["a", "a", "a", "b"], "f1": [0.1, 0.1, 0.7, 0.2]})
    (axis,) = figures.ranking(frame, value="f1", by="row", label="", title="").axes
    marks = [line for line in axis.lines if line.get_marker() == "|"]
    places = [(*line.get_xdata(), *line.get_ydata()) for line in marks]
    np.testing.assert_allclose(places, [(0.3, 0), (0.2, 1)])


def test_a_bar_is_as_long_as_its_spread_on_either_side():
    values = pd.DataFrame({"score": [0.5, 0.6]}, index=["a", "b"])
    (axis,) = figures.dots(values, 0 * values + 0.1, label="", title="").axes
    (bars,) = [part for part in axis.collections if hasattr(part, "get_segments")]
    ends = [segment[:, 0].tolist() for segment in bars.get_segments()]
    np.testing.assert_allclose(ends, [[0.4, 0.6], [0.5, 0.7]])


def test_a_threshold_is_drawn_at_the_mean_of_its_networks_over_the_formula():
    frame = pd.DataFrame({"threshold": [0.40, 0.42, 0.53], "loss": "weighted"})
    frame = frame.assign(kept=0.5, value=1.0, closed_form=0.5)
    (axis,) = figures.measured_thresholds(frame).axes
    drawn = [line for line in axis.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(np.array(drawn[0].get_data(), float), [[0.5], [0.45]])


def test_reliability_is_the_share_correct_over_the_confidence():
    frame = pd.DataFrame({"row": "Weighted", "confidence": [0.2, 0.9], "accuracy": [0.1, 0.7]})
    (axis,) = figures.reliability(frame, "").axes
    (line,) = [line for line in axis.lines if line.get_label() == "Weighted"]
    np.testing.assert_array_equal(line.get_data(), [[0.2, 0.9], [0.1, 0.7]])


@pytest.mark.parametrize(("runs", "band"), [(1, False), (3, False), (4, True)])
def test_a_deviation_is_drawn_where_there_are_runs_enough_for_one(runs, band):
    frame = pd.DataFrame({"x": [0, 1] * runs, "y": np.arange(2.0 * runs), "row": "a"})
    (axis,) = figures.lines(frame, x="x", y="y", by="row", labels=("", "", "")).axes
    assert bool(axis.collections) == band
    single = [line for line in axis.lines if len(line.get_xdata()) == 2 * runs and runs > 1]
    assert bool(single) == (not band and runs > 1)


def test_a_panel_a_row_is_named_by_its_title_and_panels_wrap():
    frame = pd.DataFrame({"x": 2, "y": 1.0, "row": list("abcde"), "seed": 0})
    given = {"by": "row", "panel": "row", "each": "seed", "labels": ("", "", "t")}
    given["logarithmic"] = True
    figure = figures.lines(frame, x="x", y="y", levels={"constant": 0.5}, **given)
    shown = [axis.get_title(loc="left") for axis in figure.axes if axis.axison]
    assert shown == list("abcde")
    assert {axis.get_xscale() for axis in figure.axes if axis.axison} == {"log"}
    assert legend(figure) == ["constant"]


LAYERS = ("Complete", "Random")
KINDS = {
    "losses": classification.TABLE_ROWS,
    "masks": ("CrossEntropy", "Weighted", "Exponential", "Exponential, fade-in", "nnPU"),
    "nnPU": ("nnPU", "nnPU, fade-in", "nnPU, imbalanced", "CrossEntropy", "Dist-PU"),
    "features": [row for row in transfer.TABLE if row in style.COLORS],
    "errors": pretraining.VERBS,
    "layers": [f"{row}Category, {kind}" for row in LAYERS for kind in ("fine-tuned", "frozen")],
}


@pytest.mark.parametrize("kind", KINDS)
def test_lines_of_a_figure_differ_in_more_than_colour(kind):
    looks = [style.look(name) for name in KINDS[kind]]
    assert len(looks) > 2
    assert len({(one["marker"], one["linestyle"]) for one in looks}) == len(looks)
    assert len({one["color"] for one in looks}) == len(LAYERS if kind == "layers" else looks)


UNLISTED = ("one", "two", "three", "four", "five", "six, frozen")
POINTS = pd.DataFrame(
    {"x": x, "y": 0.1 * i + x / 99, "row": row, "seed": seed}
    for i, row in enumerate(UNLISTED)
    for x in range(3 * style.MANY)
    for seed in range(2)
)
GIVEN = {"x": "x", "y": "y", "by": "row", "labels": ("", "", "")}
CURVES = {
    name: np.linspace(0, 1, 50) for name in ("accuracy", "proxy_accuracy", "oracle", "pu_auc")
}
DRAWN = {
    "lines": lambda: figures.lines(POINTS, **GIVEN, levels={"low": 0.1, "high": 0.9}),
    "lines of single runs": lambda: figures.lines(POINTS, **GIVEN, each="seed"),
    "panels": lambda: figures.lines(POINTS.assign(panel="a"), **GIVEN, panel="panel"),
    "series": lambda: figures.series(np.arange(9), dict.fromkeys(UNLISTED, np.ones(9)), "xyt"),
    "learning curves": lambda: figures.learning_curves(CURVES, {"last": 50, "oracle": 9}),
    "reliability": lambda: figures.reliability(
        POINTS.rename(columns={"x": "confidence", "y": "accuracy"}), ""
    ),
    "thresholds": lambda: figures.labelling(
        np.linspace(0.01, 0.9, 20), 0.5, dict(zip(UNLISTED, np.linspace(0.1, 1, 6), strict=True))
    ),
    "balance": lambda: figures.balance(0.5),
}


def marks(axis):
    """Dash and marker of every line of an axis that has a name."""
    named = [line for line in axis.lines if not line.get_label().startswith("_")]
    return {line.get_label(): (line.get_linestyle(), line.get_marker()) for line in named}


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_lines_without_a_look_of_their_own_differ_in_more_than_colour(draw):
    figure = draw()
    (axis,) = figure.axes
    seen = marks(axis)
    assert len(seen) > 2
    assert len(set(seen.values())) == len(seen)
    box = axis.get_legend() or figure.legends[0]
    handles = {line.get_label(): line.get_marker() for line in box.get_lines()}
    assert handles == {name: marker for name, (_, marker) in seen.items()}


def test_of_many_points_some_are_marked_and_of_few_all():
    for count, marked in ((5, 5), (style.MANY, style.MANY), (3 * style.MANY + 1, 8)):
        (axis,) = figures.series(np.arange(count), {"a": np.ones(count)}, ("", "", "")).axes
        (line,) = axis.lines
        assert len(range(count)[:: line.get_markevery()]) == marked


def test_a_line_without_points_is_drawn():
    frame = pd.DataFrame({"x": [0, 1], "y": np.nan, "row": "a"})
    figure = figures.lines(frame, **GIVEN)
    assert figures.png(figure)
    assert figure.axes[0].texts[0].get_text() == style.ABSENT


def test_a_name_that_is_not_listed_looks_like_no_listed_one():
    listed = {style.look(name)["marker"] for name in style.COLORS}
    others = [style.look(f"row {place}", place) for place in range(28)]
    assert listed.isdisjoint(one["marker"] for one in others)
    assert len({(one["marker"], one["linestyle"]) for one in others}) == len(others)


def test_a_row_looks_the_same_in_all_panels():
    frame = pd.concat([POINTS.assign(panel="a"), POINTS.iloc[-100:].assign(panel="b")])
    first, second = figures.lines(frame, **GIVEN, panel="panel").axes
    assert marks(second)
    assert marks(second).items() <= marks(first).items()
    numbers = frame.drop_duplicates(["row", "panel"])
    options = {**GIVEN, "panel": "panel"}
    first, second = figures.parity(numbers, **options).axes
    shapes = [
        {part.get_label(): part.get_paths()[0].vertices.tolist() for part in axis.collections}
        for axis in (first, second)
    ]
    assert shapes[1].items() <= shapes[0].items()
    assert len({str(shape) for shape in shapes[0].values()}) == len(UNLISTED)
