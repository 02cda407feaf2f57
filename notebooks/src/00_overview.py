# %% [markdown]
# # 00 What does label noise do to learning?
#
# In 2017 a draft paper asked two questions. Do wrong labels spoil the *features* that a network
# learns? And how does one learn when *only some positives are labelled*? It was never finished: no
# abstract, no results section, an empty row in Table 2, an empty Table 3. This study finishes it on
# real data, and says how sure it is.

# %% [markdown]
# > **You will learn** what was asked, what is answered so far, and where to look.
# >
# > **Needs** nothing. **Takes** ten seconds. **Downloads** nothing.

# %% tags=["parameters"]
preset = "laptop"  # smoke or laptop
device = "auto"  # auto, cpu or cuda
engine = "processes"  # processes, inline, or the tcp:// address of a cluster

# %% tags=["setup"]
import pandas as pd

from nbkit import figures, losses, statistics, sweep, tables
from nbkit.experiments import cifar, classification, moons, segmentation, transfer
from nbkit.runs import Store

figures.use_style()
store = Store()
sweep.check(engine, device)

# %% [markdown]
# ## 0.1 Three ways to get a label wrong
#
# The draft names three errors, each made on a whole unit (an image, an object), never on a pixel: a
# positive is **missing** its label ($k \to 0$), a negative is **misannotated** ($0 \to k$), a
# positive is **misclassified** ($i \to j$). Of the three the first is the one on which this study
# compares losses: the unlabelled class is then a mixture of negatives and hidden positives, and
# learning is *positive and unlabelled* (PU) learning. Features may suffer from all of them (0.5).
#
# ## 0.2 What a missing label does
#
# A network on two moons, trained by each loss while more and more of the positives lose their label
# (51 seeds each, score after the last epoch, true test labels, CPU; `nbkit sweep moons`). *Balanced
# accuracy* is the mean over both classes of the share of its points that are found, their *recall*:
# .5 is what a constant answer gets. *Class weights* count the mistakes of one class more than those
# of the other. As in the author's code, CrossEntropy and Exponential (the draft's loss) have no
# class weights here. BootstrapHard (its target for an unlabelled example is half the label, half
# the network's own decision) and *Balanced CE* (cross-entropy) have those that balance labelled
# and unlabelled examples; Weighted has half of that weight on the unlabelled.

# %%
grid = moons.grid(preset)
sweep.compute(grid.values(), engine=engine, device=device, store=store)
frame = store.grid_frame(grid, ("row", "kept", "seed"))
frame["missing"] = (1 - frame["kept"]).round(2)
labels = ("share of positives without a label", "balanced accuracy on test", "Fewer labels")
figures.lines(frame, x="missing", y="balanced_accuracy", by="row", labels=labels)

# %% [markdown]
# **See:** with half of the labels gone cross-entropy has fallen from .935 to .662 (a guess has
# .5). The draft's exponential loss still has .913 there, and .642 with seven tenths gone. With
# class weights .837 (*Balanced CE*) and .865 (*Weighted*) are left even with nine tenths gone.
#
# ## 0.3 Why: a threshold that is known beforehand
#
# What a loss learns from unlimited data can be computed before any training, and so can its
# *threshold*: the *posterior* (the probability that an example is positive) above which it calls an
# example positive. With half of the labels, and without class weights (`forward` is cross-entropy
# that is told how many labels are missing):

# %% tags=["nbval-check-output"]
for name in ("cross_entropy", "exponential", "bootstrap_hard", "forward"):
    print(f"{name:15} positive from a posterior of {losses.threshold(name, kept=0.5):.2f}")

# %% [markdown]
# One half would be right. (The weights of BootstrapHard above bring it down to .29.) Notebook 01
# derives the main formulas and measures them.
#
# ## 0.4 Real images: the draft's Table 2 in small
#
# Handwritten digits, five of them positive categories, half of the positives without a label (ten
# seeds, last epoch, true test labels, CPU; `nbkit sweep classification`). *Complete* has every
# label, *P+N* half of all of them, rightly; *Weighted*, *Exponential* and *BootstrapHard* have
# balanced weights from here on; *DropoutReg* is cross-entropy with more dropout. *Detection* recall
# is the share of positives that are called any positive.

# %%
grid = classification.grid(preset)
sweep.compute(grid.values(), engine=engine, device=device, store=store)
frame = store.grid_frame(grid, ("row", "seed"))
rows = frame["row"].isin([*classification.DRAFT_ROWS, "uPU", "nnPU", "VPU", "Dist-PU"])
last = frame[rows & (frame["criterion"] == "last")]
figures.ranking(
    last, value="accuracy", by="row", label="test accuracy, last epoch", title="Digits, ten seeds"
)

# %% tags=["nbval-check-output"]
tables.printed(tables.summary(last, ["row"], ["accuracy", "f1", "detection_recall"]))

# %% [markdown]
# **See:** the draft's claim holds here: the exponential loss beats cross-entropy and class weights.
# Of four risks made for PU learning, which the draft did not try, nnPU and Dist-PU do better still,
# uPU and VPU worse; all four are told the share of positives. And on photographs:

# %% tags=["nbval-check-output"]
photographs = store.grid_frame(cifar.table("small"), ("row", "seed"))
shown = photographs[photographs["criterion"] == "last"]
command = "nbkit sweep cifar --preset small --only table"
print(tables.caption(photographs, "CIFAR, last epoch", command))
tables.printed(tables.summary(shown, ["row"], ["accuracy", "f1", "detection_recall"]))

# %% [markdown]
# **See:** the order seen on digits does not come back.
#
# - With balanced weights the exponential loss finds the most positives (.92), but its accuracy is
#   not told apart from that of cross-entropy (.583 and .578).
# - Without the weights (*r = 1*) it is level with class weights and bootstrapping, which lead the
#   rows with missing labels (.690, .691 and .693).
# - At full size (all images, 30 epochs, five seeds) balanced Exponential is above cross-entropy in
#   every seed, and .060 below *Weighted*. With a dropout of .1 as well (three seeds) these two are
#   not told apart, and without weights it leads *Weighted* by .020 (told apart among the rows at
#   that dropout: notebook 04, 4.3 and 4.11).
#
# (*Told apart*: p is below .05 after a correction for the number of comparisons, notebook 04, 4.4.)
# A loss that wins on one data set and loses on another may owe both to its threshold, which
# notebook 04 looks into.
#
# ## 0.5 Do wrong labels make bad features?
#
# A network is pre-trained with wrong labels on one set of classes, its layers are copied, and it
# learns other classes from clean labels. What it gains over a start from scratch is what its
# features are worth: the draft's Table 1, on synthetic scenes and on photographs (MSRC). The score
# is *mean IU*: the pixels that are a class and are called it, divided by those that are it or are
# called it, averaged over the classes.

# %% tags=["nbval-check-output"]
gained = {}
for name, size in (("scenes", "laptop"), ("MSRC", "small")):
    runs = store.grid_frame(transfer.table(size), ("row", "fold", "seed"))
    pairs = runs[(runs["criterion"] == "last") & (runs["row"] != "SingleCategory")]
    apart = statistics.paired(
        pairs, by="row", value="mean_iu", reference="FromScratch", pair=("fold", "seed")
    )
    printed = statistics.printed(apart)
    gained[name] = printed["difference"] + " (" + printed["interval"] + ")"
    command = f"nbkit sweep transfer --preset {size} --only table"
    print(tables.caption(runs, f"{name}, last epoch", command))
pd.DataFrame(gained)

# %% [markdown]
# (Mean IU minus that of FromScratch, with its 95 % interval over pairs of fold and seed.)
#
# **See:** on scenes, labels without names (PixelObjectness) or with random ones keep a part of what
# clean categories give; for one category with all others missing (OneCategory) no gain was found.
# On MSRC none was found even for clean categories, so these runs say little of what wrong labels
# take away; ImageLabels (which categories an image shows, not where) is lower there. An interval
# that holds 0 tells nothing apart; one that misses 0 may not either, once all comparisons are
# corrected for (OneCategory and RandomCategory on MSRC). All of them speak for these folds (groups
# of classes) alone. Notebook 06 asks at which rate, in which layers, for how many images, and what
# folds count for.
#
# ## 0.6 Pixel by pixel
#
# If half of the objects are missing in the masks, background is really *unlabelled*: the draft's
# Table 3, which it left empty, on photographs with one animal each.

# %% tags=["nbval-check-output"]
masks = store.grid_frame(segmentation.single("small"), ("row", "seed"))
shown = masks[(masks["criterion"] == "last") & masks["row"].isin(segmentation.DRAFT_ROWS)]
command = "nbkit sweep segmentation --preset small --only single"
print(tables.caption(masks, "pets, all rows, last epoch", command))
tables.printed(tables.summary(shown, ["row"], ["mean_iu", "pixel_accuracy"]))

# %% [markdown]
# **See:** missing objects cost cross-entropy a third of its mean IU (.74 with complete masks, .50
# with half of the objects missing). Of the draft's losses class weights win most of it back (.65);
# BootstrapHard and Exponential lie .07 and .05 above cross-entropy, which five seeds do not tell
# apart after Holm's correction. Notebook 07 has ten more rows, several objects an image, and the
# hard ones missing.
#
# ## 0.7 The map
#
# | notebook | question | part of the draft |
# |---|---|---|
# | [01_losses](01_losses.ipynb) | what does a loss do to an unlabelled example? | Fig. 4 |
# | [02_moons](02_moons.ipynb) | what do they do to a decision boundary? | Figure 3 |
# | [03_pu_classification](03_pu_classification.ipynb) | any loss, any annotation | Table 2 |
# | [04_pu_tables](04_pu_tables.ipynb) | which loss wins on photographs? | Table 2, Fig. 5 |
# | [05_label_noise](05_label_noise.ipynb) | what does an error do to an object? | section 3 |
# | [06_transfer](06_transfer.ipynb) | do wrong labels make bad features? | Table 1, Figs. 1, 2 |
# | [07_pu_segmentation](07_pu_segmentation.ipynb) | the same losses, pixel by pixel | Table 3 |
# | [08_claims](08_claims.ipynb) | what does the draft say, and what of it holds? | all of it |
#
# The long runs take days; notebooks 04, 06 and 07 show those that are finished, and say how many
# are missing.

# %% [markdown]
# > **Take away.** Missing labels are not noise that averages out: they move the decision, by an
# > amount that can be computed for endless data. A part of the harm can be undone: class weights
# > win back about two thirds of what is lost on CIFAR and on pets. For features the kind of error
# > matters, and the few runs of a table leave much unsure.
