# %% [markdown]
# # 08 What does the draft say, and what of it holds?
#
# The draft leaves tables empty and sentences open. It reports some numbers, argues for some
# hypotheses, and notes what it still wants to show. This notebook holds its numbers beside ours,
# and tests what it says on each data set of the study.

# %% [markdown]
# > **You will learn** to turn a sentence of a paper into a difference that can be tested; to
# > correct a whole list of claims for its length; and which of the draft's claims depend on the
# > data.
# >
# > **Needs** notebooks 02 to 04, 06 and 07. **Takes** ten seconds: it reads finished runs.
# > **Downloads** nothing. **Expect** a claim that holds on digits and is the other way round on
# > photographs.

# %% tags=["parameters"]
preset = "laptop"  # of moons, digits and scenes
photographs = "small"  # their preset: small or paper
device = "auto"  # auto, cpu or cuda
engine = "processes"  # processes, inline, or the tcp:// address of a cluster

# %% tags=["setup"]
import textwrap

import pandas as pd
import torch

from nbkit import figures, losses, metrics, presets, statistics, sweep, tables
from nbkit.exercises import claims as exercises
from nbkit.experiments import cifar, classification, moons, scoring, segmentation, transfer
from nbkit.runs import Store

figures.use_style()
pd.options.display.max_rows = 100  # no claim is left out
store = Store()
sweep.check(engine, device)
for section in ("segmentation", "transfer"):
    presets.photographs(photographs, section)

# %% [markdown]
# ## 8.1 The evidence
#
# Seven sets of runs on which losses learn from missing labels, and two on which features are
# transferred. (CIFAR is there three times: with half of the images for 12 epochs; at full size,
# with all of them for 30; and at full size with a dropout of .1 instead of .5, which was tried
# after first results.) All scores are those of the last epoch, on true labels that were not used to
# choose between rows. (How large the scenes are, how many seeds they have and how many epochs CIFAR
# trains was set after first results, for all rows alike; no verdict is corrected for that.) Rows
# have the same meaning everywhere: *Weighted* and *Exponential* have balanced class weights, *half*
# has half of that weight on U, *r = 1* none. (On moons the author balanced other rows than in his
# tables; they are renamed to fit.)

# %% tags=["setup"]
less_dropout = store.grid_frame(cifar.dropout("paper"), ("row", "dropout", "seed"))
less_dropout = less_dropout[less_dropout["dropout"] == cifar.LESS_DROPOUT]
toys, digits = moons.grid(preset), classification.grid(preset)
sweep.compute([*toys.values(), *digits.values()], engine=engine, device=device, store=store)
two_moons = store.grid_frame(toys, ("row", "kept", "seed"))
MOONS = {"Balanced CE": "Weighted", "Weighted": "Weighted, half"}
MOONS |= {"Exponential": "Exponential, r = 1"}
whole = two_moons[(two_moons["row"] == "CrossEntropy") & (two_moons["kept"] == 1)]
half = two_moons[two_moons["kept"] == 0.5].replace({"row": MOONS})
frames = {
    "moons": pd.concat([whole.assign(row="Complete"), half]),
    "digits": store.grid_frame(digits, ("row", "seed")),
    "CIFAR": store.grid_frame(
        cifar.table(photographs) | cifar.extended(photographs), ("row", "seed")
    ),
    "CIFAR, full size": store.grid_frame(cifar.table("paper"), ("row", "seed")),
    "CIFAR, full size, dropout .1": less_dropout,
    "scenes": store.grid_frame(segmentation.single(preset), ("row", "seed")),
    "pets": store.grid_frame(segmentation.single(photographs), ("row", "seed")),
}
if photographs == "paper":
    del frames["CIFAR, full size"]  # it is "CIFAR"


# %% tags=["setup"]
def transferred(given: str) -> pd.DataFrame:
    """Return Table 1, and as rows named by their verb the highest rates of the rate curves."""
    grid = {name: run for name, run in transfer.table(given).items() if name[0] != "SingleCategory"}
    curves = transfer.rates(given)
    highest = max(rate for _, rate, _, _ in curves)
    for (verb, rate, fold, seed), run in curves.items():
        if rate == highest:
            grid[verb, fold, seed] = run
    return store.grid_frame(grid, ("row", "fold", "seed"))


TRANSFER = {"scenes, transfer": preset, "MSRC, transfer": photographs}
frames |= {name: transferred(given) for name, given in TRANSFER.items()}
frames = {name: frame[frame["criterion"] == "last"] for name, frame in frames.items()}
scores = dict.fromkeys(frames, "mean_iu") | {"moons": "balanced_accuracy"}
scores |= {name: "accuracy" for name in frames if name.startswith(("digits", "CIFAR"))}

# %% tags=["setup"]
words = {
    "moons": f"moons --preset {preset}",
    "digits": f"classification --preset {preset}",
    "CIFAR": f"cifar --preset {photographs}",
    "CIFAR, full size": "cifar --preset paper --only table",
    "CIFAR, full size, dropout .1": "cifar --preset paper --only dropout",
    "scenes": f"segmentation --preset {preset}",
    "pets": f"segmentation --preset {photographs}",
    "scenes, transfer": f"transfer --preset {preset}",
    "MSRC, transfer": f"transfer --preset {photographs}",
}
commands = {name: f"nbkit sweep {words[name]}" for name in frames}

# %% tags=["nbval-check-output"]
finished = {name: frame.dropna(subset=scores[name]) for name, frame in frames.items()}
evidence = pd.DataFrame(
    {
        "score": scores,
        "rows": {name: frame["row"].nunique() for name, frame in finished.items()},
        "runs": {name: frame["key"].nunique() for name, frame in finished.items()},
        "device": {name: ", ".join(sorted({*frame["device"]})) for name, frame in finished.items()},
        "recompute": commands,
    }
)
evidence.rename_axis("data")

# %% [markdown]
# ## 8.2 The numbers
#
# The draft's Table 2 has 24 numbers; its Figure 5 and the sweep behind its Figure 3 survive in the
# author's logs, recomputed. Each stands here beside the mean of our runs of the row of that name.
# Names can mislead (notebook 04): two of the three runs behind the draft's Exponential row had no
# class weights, its Weighted had half of the balanced ones, its BootstrapHard trained with swapped
# arguments, and protocols and runs were picked.


# %%
def beside(theirs: pd.DataFrame, ours: pd.DataFrame, keys: list[str], values: list[str]):
    """Return both sources with a line a number: row, quantity, theirs, our mean, std and n."""
    long = [
        frame.melt(["row", *keys], values, "score").dropna(subset="value")
        for frame in (theirs, ours)
    ]
    groups = [frame.groupby(["row", *keys, "score"], sort=False)["value"] for frame in long]
    table = groups[0].mean().to_frame("theirs")
    means = groups[1].agg(["mean", "std", "count"]).astype({"count": "Int64"})  # whole, or missing
    return table.join(means).reset_index()


# %%
MACRO = list(scoring.MACRO)
figure5 = store.grid_frame(cifar.figure(photographs), ("row", "kept", "seed"))
figure5 = figure5[figure5["criterion"] == "last"]
complete = figure5[(figure5["row"] == "CrossEntropy") & (figure5["kept"] == 1)]
figure5 = pd.concat([complete.assign(row="Complete"), figure5])
two_moons["missing"] = (1 - two_moons["kept"]).round(2)
draft2, logs = tables.published("table2").drop(columns="n"), tables.published("cifar_logs")
parts = {
    name.replace("CIFAR", "Table 2"): beside(draft2, frame, [], MACRO)
    for name, frame in frames.items()
    if name.startswith("CIFAR")
}
parts |= {
    "Figure 5 (logs)": beside(logs, figure5, ["kept"], ["accuracy"]),
    "moons (logs)": beside(
        tables.published("moons"), two_moons, ["missing"], ["balanced_accuracy"]
    ),
}
numbers = pd.concat(parts, names=["source", None]).reset_index("source")
numbers["difference"] = numbers["mean"] - numbers["theirs"]

# %%
figures.save(
    figures.parity(
        numbers[numbers["score"].isin(["accuracy", "balanced_accuracy"])],
        x="theirs",
        y="mean",
        by="row",
        panel="source",
        labels=(
            "in the draft or the logs",
            "ours, mean over seeds",
            "Accuracy, number by number (balanced on moons)",
        ),
    ),
    "claims_numbers",
)

# %% [markdown]
# **See:** points on the line agree. Moons lie near it, mostly a little above (notebook 02 has a
# guess for one row); photographs with half of the images lie below it. Preset `small` trains on
# half of the images, for 12 epochs where the author allowed 200, so that the height of the points
# says little; their order says more, and is not the draft's (last column below). At full size (all
# images, 30 epochs) all but one come near: within .05 of the draft's accuracy, and Exponential .11
# below; with a dropout of .1, or without weights, it is .04 below, and with both .03.

# %% tags=["nbval-check-output"]
groups = numbers.groupby(["source", "score"], sort=False)
summary = groups.agg(numbers=("theirs", "size"), ours=("mean", "count"), runs=("count", "sum"))
summary["within .03"] = groups["difference"].apply(lambda gap: (gap.abs() <= 0.03).sum())
summary["mean difference"] = groups["difference"].mean().round(3)
summary["rank correlation"] = groups.apply(
    lambda part: part["mean"].corr(part["theirs"], "spearman"), include_groups=False
).round(2)
tables.save(numbers.round(4).set_index("source"), "claims_numbers")
summary.astype({"runs": int})

# %% [markdown]
# The whole list is `figures/claims_numbers.csv`. Table 2, ours minus the draft's, and once more for
# the three rows nearly as their author ran them. (A fade-in takes ten of our twelve epochs, and
# took about ten of up to 200 of his. His BootstrapHard took over from cross-entropy at once; with
# which weights the draft's run of it was trained is not known.)

# %% tags=["nbval-check-output"]
RAN = {"Weighted, half": "Weighted", "Exponential, r = 1, fade-in": "Exponential"}
RAN |= {"BootstrapHard, as run, fade-in": "BootstrapHard"}
as_ran = frames["CIFAR"][frames["CIFAR"]["row"].isin(RAN)].replace({"row": RAN})
as_ran = beside(draft2[draft2["row"].isin(RAN.values())], as_ran, [], MACRO)
as_ran["difference"] = as_ran["mean"] - as_ran["theirs"]
as_ran["row"] += ", nearly as run"
both = [numbers[numbers["source"] == "Table 2"], as_ran]
table2 = pd.concat(both)
print(tables.caption(frames["CIFAR"], "CIFAR, ours minus the draft, last epoch", commands["CIFAR"]))
tables.wide(table2.set_index(["row", "score"])["difference"].round(3))

# %% [markdown]
# Table 1 cannot be compared cell by cell: its photographs are those of PASCAL VOC, ours are MSRC
# and synthetic scenes, with other classes. What can be compared is what each pre-training adds to
# FromScratch, in the mean over the folds. (The draft's SingleCategory repeats its ImageNetModel and
# is left out, see notebook 06; the author's logs are of another network and of fold 4.)


# %% tags=["nbval-check-output"]
def added(frame: pd.DataFrame) -> pd.Series:
    """Return the mean over the folds minus that of FromScratch."""
    means = frame.groupby(["row", "fold"])["mean_iu"].mean().groupby("row").mean()
    return (means - means.get("FromScratch", float("nan"))).drop("FromScratch", errors="ignore")


published = tables.published("table1")
published = published[published["row"] != "SingleCategory"]
draft1 = published[published["source"] == "draft"]
table1 = {"draft": added(draft1)}
table1["logs: FCN-8s, fold 4"] = added(published[published["source"] == "logs"])
table1 |= {name.split(",")[0]: added(frames[name]) for name in TRANSFER}
rows = [row for row in transfer.TABLE if row not in ("SingleCategory", "FromScratch")]
pd.DataFrame(table1).reindex(rows).map("{:+.3f}".format).replace("+nan", "–")

# %% [markdown]
# ## 8.3 The claims
#
# A claim becomes a pair of rows, and holds if the first is better than the second. Not all that
# the draft says is a result:
#
# | claim | where, and what it is there |
# |---|---|
# | Missing labels harm cross-entropy | Table 2: a result |
# | Class weights help | Table 2: a result |
# | Exponential helps | Table 2: a result; section 5 means to "explain why" |
# | Exponential beats class weights | Table 2: a result |
# | Hard bootstrapping helps; less than class weights | Table 2: results, of a swapped loss |
# | Half of the examples, all labelled, beat Exponential | Table 2: a result |
# | More dropout helps | Table 2: an empty row, so our question |
# | Fade-in helps Exponential | section 5, a note: "to avoid all-positive inital prediction" |
# | Clean pre-training helps | Table 1: a result |
# | Objects without names, or with wrong ones, teach | section 3: a hypothesis; Table 1 |
# | Losing the names, and wrong names cost | section 3: its research question; Table 1 |
# | Wrong labels beat an autoencoder | section 2, an argument: "better than no information" |
# | Missing cost more than misclassified | section 3, an argument: they "introduce bias" |
#
# ("An autoencoder" stands for no labels at all. It is not above FromScratch itself, so that to beat
# it is to beat this one substitute. Objects without names are the draft's *misannotated* ones: all
# instances are annotated as one target category, which is PixelObjectness. Wrong names are its
# *misclassified* ones. That one category is annotated and all others are missing was no row of the
# draft: notebook 06, 6.13.)

# %% tags=["setup"]
LOSSES = {
    "Missing labels harm cross-entropy": ("Complete", "CrossEntropy"),
    "Class weights help": ("Weighted", "CrossEntropy"),
    "Exponential, balanced, helps": ("Exponential", "CrossEntropy"),
    "Exponential, no weights, helps": ("Exponential, r = 1", "CrossEntropy"),
    "Exponential, balanced, beats class weights": ("Exponential", "Weighted"),
    "Exponential, no weights, beats class weights": ("Exponential, r = 1", "Weighted"),
    "Hard bootstrapping helps": ("BootstrapHard", "CrossEntropy"),
    "Class weights beat hard bootstrapping": ("Weighted", "BootstrapHard"),
    "Half, all labelled, beat Exponential, balanced": ("P+N", "Exponential"),
    "More dropout helps": ("DropoutReg", "CrossEntropy"),
    "Fade-in helps Exponential, balanced": ("Exponential, fade-in", "Exponential"),
}
FEATURES = {
    "Clean pre-training helps": ("CompleteCategory", "FromScratch"),
    "Objects without names teach": ("PixelObjectness", "FromScratch"),
    "Objects with wrong names teach": ("RandomCategory", "FromScratch"),
    "Losing the names costs": ("CompleteCategory", "PixelObjectness"),
    "Wrong names cost": ("CompleteCategory", "RandomCategory"),
    "Objects without names beat an autoencoder": ("PixelObjectness", "Autoencoder"),
    "Objects with wrong names beat an autoencoder": ("RandomCategory", "Autoencoder"),
    "Missing cost more than misclassified": ("misclassified", "missing"),
}

# %% [markdown]
# Runs are compared pair by pair: two runs of a pair have the same seed, so the same mask, held-out
# examples and initial weights (and the same fold). Rows differ only in loss, class weights, dropout
# or labels; P+N also takes half as many steps, and moons have the author's learning rates and
# epochs. On moons hard bootstrapping trains twice as long as class weights; half the epochs cost a
# row about .02 (notebook 02, 2.3), as much as its lead.
#
# **Holm's rule corrects for all tests of this section together**: of so many, some would otherwise
# hold by luck. With two, three or five pairs a verdict also rests on Student's t, which assumes
# that differences are distributed normally (the second exercise does without). And pairs of one
# fold share images and classes: verdicts on features speak for *these* folds; the table has the
# interval that counts a fold as one observation.


# %% tags=["setup"]
def compared(name: str, unit: str | None = None) -> pd.DataFrame:
    """Return the tests of all claims on a data set."""
    claims, pair = (FEATURES, ("fold", "seed")) if name in TRANSFER else (LOSSES, ("seed",))
    given = {"by": "row", "value": scores[name], "pair": pair, "unit": unit}
    return statistics.contrasts(frames[name], claims, **given)


found = pd.concat({name: compared(name) for name in frames}, names=["data", "claim"]).swaplevel()
folds = pd.concat({name: compared(name, "fold") for name in TRANSFER}, names=["data", "claim"])
found["folds"] = statistics.printed(folds.swaplevel())["interval"]
order = [(claim, name) for claim in (*LOSSES, *FEATURES) for name in frames]
found = statistics.judged(found.loc[[one for one in order if one in found.index]]).reset_index()
OUTCOMES = {"higher": "holds", "lower": "the other way round"}
found["outcome"] = found["verdict"].replace(OUTCOMES)
found["shown"] = found["difference"].map("{:+.3f}".format).replace("+nan", "–")

# %%
theirs = {"Losses": draft2.set_index("row")["accuracy"]}
theirs["Features, these folds"] = draft1.groupby("row")["mean_iu"].mean()
panels = {}
for (kind, numbers_of), claims, score in zip(
    theirs.items(),
    (LOSSES, FEATURES),
    ("accuracy (balanced on moons), or mean IU on masks", "mean IU on other classes"),
    strict=True,
):
    ours = found[found["claim"].isin(claims)].copy()
    ours.loc[ours["n"] == 0, ["shown", "outcome"]] = None  # not run: an empty cell
    draft = pd.DataFrame.from_dict(claims, orient="index", columns=["better", "worse"])
    draft = draft.rename_axis("claim").reset_index().assign(data="draft", outcome="as published")
    draft = draft.replace("Exponential, r = 1", "Exponential")
    gaps = draft["better"].map(numbers_of) - draft["worse"].map(numbers_of)
    marks = draft[["better", "worse"]].replace({"BootstrapHard": "*", "Exponential": "†"})
    marks = marks.where(marks.isin(["*", "†"]), "").sum(axis=1).where(gaps.notna(), "")
    draft["shown"] = gaps.map("{:+.3f}".format).replace("+nan", "") + marks
    panels[f"{kind}: difference in {score}"] = pd.concat([draft, ours])
figures.save(
    figures.verdicts(panels, "The draft's claims and open questions: what holds where"), "claims"
)

# %% [markdown]
# **See:** blue beside orange in one row is a claim that the data decide, with the network and the
# training that go with them: that balanced Exponential beats class weights holds on digits, and is
# the other way round on scenes, on pets and, at the usual dropout, on CIFAR.
#
# - Grey says what these runs can tell, not that two rows are equal. An empty cell was not run; in
#   the draft's column it means that the draft has no number. († Two of the three runs of its
#   Exponential had no weights, and the third's are not recorded; * its BootstrapHard is another
#   loss.)
# - The two sizes of CIFAR agree wherever both tell rows apart. At full size, with five seeds a row,
#   balanced Exponential is above cross-entropy by .081 and below class weights by .060; without
#   weights it is not told apart from them (notebook 04, 4.3 and 4.4).
# - With a dropout of .1 instead of .5, the author's usual one, it is above cross-entropy by .125,
#   and not told apart from class weights. Without weights it is .020 above them, as is hard
#   bootstrapping by .021: both miss the mark of this list (p = .095 and .051), and are told apart
#   among the rows at that dropout alone (4.11).

# %% tags=["nbval-check-output"]
told = statistics.printed(found).drop(columns="verdict").rename(columns={"n": "pairs"})
told = told.assign(verdict=found["outcome"], claim=found["claim"], data=found["data"])
told["interval over folds"] = found["folds"].fillna("–")
told = told.set_index(["claim", "data"])
tables.save(told, "claims")
print(f"{found['p'].notna().sum()} tests, and {found['p'].isna().sum()} that lack runs;", end=" ")
print("the commands of section 8.1 compute what is missing")
told.loc[[*LOSSES]].drop(columns="interval over folds")

# %% tags=["nbval-check-output"]
told.loc[[*FEATURES]]

# %% tags=["check"]
outcomes = found.set_index(["data", "claim"])["outcome"]
if preset == "laptop":
    for name in ("moons", "digits"):
        tables.as_published(outcomes[name, "Missing labels harm cross-entropy"] == "holds")
    tables.as_published(outcomes["digits", "Exponential, balanced, beats class weights"] == "holds")
if (preset, photographs) == ("laptop", "small") and frames["CIFAR"]["accuracy"].notna().any():
    tables.as_published(outcomes["CIFAR", "Missing labels harm cross-entropy"] == "holds")
    reverse = outcomes["CIFAR", "Exponential, balanced, beats class weights"]
    tables.as_published(reverse == "the other way round")

# %% [markdown]
# The same in three lists. (A longer list of tests is a stricter one: corrected for its own three
# alone, notebook 06 tells objects without names from clean labels on the scenes.)

# %% tags=["nbval-check-output"]
count = found.groupby("claim", sort=False)["outcome"].value_counts().unstack()
count = count.reindex(columns=[*OUTCOMES.values()]).fillna(0).astype(int)
holds, reverse = (count[name] for name in OUTCOMES.values())
lists = {
    "Told apart somewhere, and nowhere the other way round": (holds > 0) & (reverse == 0),
    "The other way round on some data": reverse > 0,
    "Not told apart on any data": (holds == 0) & (reverse == 0),
}
for what, which in lists.items():
    print(f"{what}:", *(count.index[which] if which.any() else ["none"]), sep="\n  ")

# %% [markdown]
# One claim of the draft is not here: that *low* layers suffer less than high ones. Notebook 06,
# section 6.8, copies layer by layer, on one fold and seed so far, which tests nothing. And fade-in
# was to save the *start* of a training, while the rows compare its *end*: notebook 07, section 7.6,
# shows the starts.
#
# ## 8.4 A claim that needs no run
#
# "The *soft* bootstrapping loss is actually equivalent to a softmax regression with minimum entropy
# regularization", says section 2 after Reed et al. With trust $\beta$ in the labels it is
#
# $$\beta\,\mathrm{CE} + (1 - \beta)\,H(p)
# = \beta \left( \mathrm{CE} + \tfrac{1 - \beta}{\beta}\, H(p) \right),$$
#
# cross-entropy and entropy for *every* example; the factor $\beta$ in front moves no minimum. But
# Grandvalet and Bengio, whom the draft cites, give labelled examples no entropy, and unlabelled
# ones no cross-entropy. The gradients, but for that factor:

# %% tags=["nbval-check-output"]
beta, weight = 0.8, (1 - 0.8) / 0.8
soft = losses.create("bootstrap_soft", beta=beta)
draw = torch.Generator().manual_seed(0)
logits = torch.randn(1000, 4, generator=draw, dtype=torch.float64, requires_grad=True)
log_p = logits.log_softmax(-1)
entropy = -(log_p.exp() * log_p).sum(-1)
for name, label, published in (
    ("labelled", 2, -log_p[:, 2]),
    ("unlabelled", 0, weight * entropy),
    ("unlabelled, as negatives too", 0, -log_p[:, 0] + weight * entropy),
):
    ours = soft.per_example(logits, torch.full((1000,), label)) / beta
    slopes = [
        torch.autograd.grad(loss.sum(), logits, retain_graph=True)[0] for loss in (ours, published)
    ]
    print(f"{name:28} largest difference {(slopes[0] - slopes[1]).abs().max().item():.4f}")

# %% [markdown]
# So the two are not the same loss. They agree on U where it is also taken for negative, as the
# study's `entropy_min` does, and on labelled examples soft bootstrapping adds an entropy that makes
# the network surer.
#
# ## 8.5 What the draft left open
#
# **The empty row of Table 2**, and **the empty Table 3**: foreground against background on
# photographs of one instance, half of them missing in the training masks.

# %% tags=["nbval-check-output"]
filled = {}
for name in [name for name in ("CIFAR", "CIFAR, full size") if name in frames]:
    print(tables.caption(frames[name], f"{name}, last epoch", commands[name]))
    means = tables.printed(tables.summary(frames[name], ["row"], MACRO))
    filled[f"DropoutReg, {name}"] = means.loc["DropoutReg"]
pd.DataFrame(filled).T

# %% tags=["nbval-check-output"]
masks = frames["pets"][frames["pets"]["row"].isin(segmentation.DRAFT_ROWS)]
print(tables.caption(masks, "pets, last epoch", commands["pets"]))
tables.printed(tables.summary(masks, ["row"], list(metrics.STATISTICS)))

# %% [markdown]
# **The open sentence of section 3** ("TODO One sentence summarizes the results"), and **the
# abstract** ("The ABSTRACT HERE"). The cells write them from the runs: a difference, its 95 %
# interval, the number of pairs, and a word where Holm's rule does not tell it apart from 0.


# %%
def said(claim: str, name: str) -> str:
    """Return a difference with its interval and pairs, as text, and whether it is told apart."""
    line = told.loc[(claim, name)]
    unsure = "" if line["verdict"] in OUTCOMES.values() else f"; {line['verdict']}"
    return f"{line['difference']} ({line['interval']}, n = {line['pairs']}{unsure})"


def over(claims: dict[str, str], name: str) -> str:
    """Return what each of some claims amounts to on a data set."""
    return ", ".join(f"{what} {said(claim, name)}" for what, claim in claims.items())


# %%
REMEDIES = {
    "class weights win back": "Class weights help",
    "hard bootstrapping": "Hard bootstrapping helps",
    "the exponential loss": "Exponential, balanced, helps",
    "and the same without class weights": "Exponential, no weights, helps",
}
TEACHERS = {
    "clean labels": "Clean pre-training helps",
    "objects without names": "Objects without names teach",
    "objects with wrong names": "Objects with wrong names teach",
}
COSTS = {
    "objects without names:": "Losing the names costs",
    "minus objects with wrong names:": "Wrong names cost",
}
PLACES = {"scenes, transfer": "synthetic scenes", "MSRC, transfer": "photographs (MSRC)"}

# %% tags=["nbval-check-output"]
parts = [
    f"On {place} a pre-training adds to the mean IU on other classes: {over(TEACHERS, name)}. "
    f"Clean labels minus {over(COSTS, name)}."
    for name, place in PLACES.items()
]
summary3 = " ".join(parts)
print(textwrap.fill(summary3, 95))

# %% tags=["nbval-check-output"]
DATA = {
    "digits": "handwritten digits",
    "CIFAR": f"{'all' if photographs == 'paper' else 'half'} of CIFAR's photographs",
    "CIFAR, full size": "all of CIFAR's photographs",
    "CIFAR, full size, dropout .1": "the same with a dropout of .1",
    "pets": "masks of pets",
}
remedies = ". ".join(
    f"On {what} these labels are worth {said('Missing labels harm cross-entropy', name)} to "
    f"cross-entropy; without them {over(REMEDIES, name)}"
    for name, what in DATA.items()
    if name in frames
)
abstract = [
    "Do wrong labels spoil what a network learns, and what can be learned when only some positives "
    "are labelled? Half of the positives lose their label. (Accuracy, or mean IU on masks.) "
    f"{remedies}.",
    "A network is pre-trained with wrong labels, and learns other classes from clean ones. "
    f"{summary3}",
    "All scores are those of the last epoch on true labels; no epoch was selected, sizes were set "
    "once for all rows; balanced class weights unless it says without; the intervals on features "
    "speak for these folds of classes.",
]
print("\n\n".join(textwrap.fill(part, 95) for part in abstract))

# %% [markdown] tags=["exercises"]
# ## Exercises
#
# They use what the cells above make, so run all of them first (Run > Run All Cells). Solutions are
# in [solutions/08_claims](solutions/08_claims.ipynb).

# %% [markdown]
# **Warm-up.** On which data sets does *"Class weights beat hard bootstrapping"* hold? Answer with a
# list of their names as in 8.1.

# %% tags=["exercise"]
answer = None
# BEGIN SOLUTION
claim = found[found["claim"] == "Class weights beat hard bootstrapping"]
answer = claim.loc[claim["outcome"] == "holds", "data"].tolist()
# END SOLUTION
exercises.where_it_holds(answer, found, "Class weights beat hard bootstrapping")

# %% [markdown]
# **Core.** Student's t asks for differences that are distributed normally. The *sign-flip test*
# does not: if two rows were alike, every difference could as well have the other sign. Write its
# two-sided p-value: the share of all $2^n$ choices of signs for which the sum of the differences
# is at least as far from 0 as the one that was seen. Then think: how small can it be with five
# seeds, or with three, and what does that say of the verdicts above?


# %% tags=["exercise"]
def sign_flip_p(differences) -> float:
    """Return the exact two-sided p-value of the sign-flip test."""
    # BEGIN SOLUTION
    # at the least 2 / 2^n: 1/16 with five seeds and 1/4 with three, so never below .05
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * len(differences))
    values = torch.as_tensor(differences, dtype=torch.float64)
    sums = (signs.double() @ values).abs()
    return (sums >= values.sum().abs() - 1e-12).double().mean().item()
    # END SOLUTION


exercises.sign_flips(sign_flip_p)

# %% [markdown]
# **Open.** Find a claim of your own that the data decide: a pair of rows, not in the lists above,
# of which the first is better on digits and worse on CIFAR. There are 351 pairs, and the best of
# many is lucky. So choose on the first five seeds of the digits and on CIFAR as you like; the check
# takes the *other* five seeds of the digits, and CIFAR, with Holm's rule for both tests. (CIFAR's
# rows have too few seeds to hold some back: that half of the check is not clean.)

# %% tags=["exercise"]
seen = frames["digits"][frames["digits"]["seed"] < 5]  # to look at
answer = None  # such as ("Complete", "Exponential")
# BEGIN SOLUTION
seen.groupby("row")["accuracy"].mean().sort_values()
answer = ("Exponential", "BootstrapHard")
# END SOLUTION
exercises.decided_by_data(answer, frames, commands, LOSSES.values())

# %% [markdown]
# > **Take away.** A claim about a loss is a claim about data and training. Say the pair of rows,
# > the data, the criterion and the number of pairs, and correct for everything that was asked.
#
# **References.** J. Ju, draft, 2017; Holm 1979; Grandvalet and Bengio 2005; Reed et al. 2014;
# R. A. Fisher 1935 on flipping signs.
