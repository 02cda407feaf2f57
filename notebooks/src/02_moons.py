# %% [markdown]
# # 02 What do the losses do to a decision boundary?
#
# Two moons, a network of two hidden layers of eight units, and an annotator who leaves out half of
# the positives, or more. Where does the boundary go, and when does a loss stop finding anything?

# %% [markdown]
# > **You will learn** to read the draft's Figure 3; how far each loss gets as labels vanish; and
# > that the point where it falls can be computed beforehand.
# >
# > **Needs** notebook 01. **Takes** a minute. **Downloads** nothing.
# > **Expect** balanced accuracy .66 for cross-entropy with half of the labels, .91 for the
# > exponential loss.

# %% tags=["parameters"]
preset = "laptop"  # smoke or laptop
device = "auto"  # auto, cpu or cuda
engine = "processes"  # processes, inline, or the tcp:// address of a cluster
interactive = True  # False: pictures without their controls

# %% tags=["setup"]
import pandas as pd

from nbkit import checks, exercises, explore, figures, losses, sweep, tables
from nbkit.experiments import moons
from nbkit.runs import Store

figures.use_style()
checks.flag("interactive", interactive)
store = Store()
sweep.check(engine, device)

# %% [markdown]
# ## 2.1 Figure 3
#
# 800 points with noise .2, half of them for training: about 200 of each class. On the left all
# labels are right; in the other columns half of the positives are hidden among the negatives.
# Colours follow the draft's caption: **red circles** are labelled positive, **blue squares** are
# not, a black edge marks a hidden positive; the background is red where the network says
# "positive". (The author's code drew them the other way round.) In the first column a square is a
# labelled negative. As in his notebook each column has its own learning rate, from .005 to .05. In
# the top row the size of a marker is its loss, in the bottom row the derivative of the loss with
# respect to the logit of its label; both are scaled within each label.

# %%
panels = [moons.figure3(title) for title in moons.FIGURE3]
figures.save(figures.moons_grid(panels), "figure3_moons")

# %% [markdown]
# **See:** under cross-entropy (second column) the hidden positives are among the largest squares,
# and together they drag the boundary over the red moon. Under the exponential loss (fourth column)
# their losses are large too, but their slopes (bottom row) are small: the network has found them,
# and their wrong labels hardly pull any more. Weighted and hard bootstrapping (third and fifth)
# find the red moon as well, but there the pull goes on: the squares are large in both rows. (One
# network a column, one seed; compare squares with squares of the same panel.)
#
# As in the author's notebook, cross-entropy has no class weights here. The exponential loss and
# hard bootstrapping have *balanced* ones, with which labelled and unlabelled examples weigh the
# same in total, and weighted has half of that ratio. In 2.2 the exponential loss has none.

# %% [markdown]
# ## 2.2 The sweep: fewer and fewer labels
#
# The author also trained 51 networks for each loss at each of seven shares of missing labels, with
# the settings below. His "AUC" is computed from hard decisions, which makes it the *balanced
# accuracy*, the mean of the recalls of both classes: a constant answer gets .5. We run the same
# protocol: fresh points, a fresh mask and fresh initial weights for each of 51 seeds (his mask had
# one seed), and the score after the last epoch on 400 test points with true labels.
#
# In the table 1.0 is the balanced ratio (notebook 01, 1.7), and 0.5 is half of it. *Weighted* is
# the author's name for that half; the Weighted of the other tables (notebooks 03 and 04) is
# *Balanced CE* here. The learning rates and the epochs differ between rows, too.

# %% tags=["nbval-check-output"]
settings = pd.DataFrame(
    [
        {
            "row": row,
            "loss": loss,
            "weight of U, share of balanced": "none" if balance is None else balance,
            "learning rate": rate,
            "epochs": epochs,
        }
        for row, (loss, balance, rate, epochs) in moons.PROTOCOL.items()
    ]
)
settings.set_index("row")

# %% tags=["setup"]
grid = moons.grid(preset)
sweep.compute(grid.values(), engine=engine, device=device, store=store)
frame = store.grid_frame(grid, ("row", "kept", "seed"))
frame["missing"] = (1 - frame["kept"]).round(2)

# %%
title = "Two moons: without weights, losses fall off a cliff"
labels = ("share of positives without a label", "balanced accuracy on test", title)
figures.save(
    figures.lines(frame, x="missing", y="balanced_accuracy", by="row", labels=labels),
    "moons_sweep",
)

# %% [markdown]
# **See:** unweighted losses fall off a cliff: CrossEntropy from .909 with .2 missing to .540 with
# .6, Exponential from .913 with .5 missing to .523 with .8. Weighted ones walk down a slope: with
# .9 missing the three still have .837 to .865. Lines are means over 51 seeds, bands one standard
# deviation (last epoch, CPU; `nbkit sweep moons`).

# %% tags=["nbval-check-output"]
summary = tables.summary(frame, ["row", "missing"], ["balanced_accuracy"])
sweep_table = tables.wide(tables.printed(summary)["balanced_accuracy"])
tables.save(sweep_table, "moons_sweep")
sweep_table

# %% tags=["check"]
if preset == "laptop":
    half = summary["balanced_accuracy", "mean"].xs(0.5, level="missing").round(2)
    tables.as_published((half["CrossEntropy"], half["Exponential"]) == (0.66, 0.91))

# %% [markdown]
# ## 2.3 Beside the author's numbers
#
# The author's logs hold the means of his 51 repeats. The table shows ours, 51 seeds each, minus
# his.

# %% tags=["nbval-check-output"]
author = tables.published("moons").set_index(["row", "missing"])["balanced_accuracy"]
ours = summary["balanced_accuracy", "mean"].rename("ours")
both = pd.concat([ours, author.rename("author")], axis=1, join="inner")
both["difference"] = both["ours"] - both["author"]
tables.save(both.round(3), "moons_author")
tables.wide(both["difference"].round(3))

# %% tags=["nbval-check-output"]
within = both["difference"].abs() <= 0.03
print(f"{within.sum()} of {len(within)} means lie within .03 of the author's;")
print(f"ours are better in {(both['difference'] > 0.03).sum()} of the others, worse in", end=" ")
print(f"{(both['difference'] < -0.03).sum()}")
both[~within].round(3)

# %% [markdown]
# **See:** the same picture, and where we differ by more than .03 we are above: *Balanced CE* from
# half missing on, BootstrapHard at .7 and .9, Exponential at .6. What could it be? Two guesses can
# be tested on *Balanced CE*, the row that differs most (at five of seven shares): that his networks
# were in effect trained for a shorter time, or that his class weights were in effect milder than
# the nominal ones.

# %% tags=["nbval-check-output"]
variants = {"as above": moons.grid(preset)} | moons.explanations(preset)
rows = []
for name, runs in variants.items():
    chosen = {key: run for key, run in runs.items() if key[0] == "Balanced CE"}
    sweep.compute(chosen.values(), engine=engine, device=device, store=store)
    means = store.grid_frame(chosen, ("row", "kept", "seed")).groupby("kept")["balanced_accuracy"]
    means = means.mean().sort_index(ascending=False)
    rows.append(pd.Series(means.values, (1 - means.index).round(2), name=name))
rows.append(author["Balanced CE"].rename("author"))
variant_table = pd.concat(rows, axis=1).dropna().T.round(3)
variant_table

# %% [markdown]
# **See:** half of the epochs do not give the author's line: they lower the left end (.935 to .901)
# and leave the right end where it was (.837 and .840; his is .783). Milder weights do: with
# unlabelled examples 1.5 times as heavy as the balanced rule says, every mean (51 seeds) lies
# within .02 of his. (The 1.5 was chosen because it fits.) So milder weights would give his line for
# this row. They cannot explain Exponential, which has no weights. Whether they explain
# BootstrapHard, which has balanced ones too, was not tried, nor were other causes, such as the one
# mask that he drew.

# %% tags=["check"]
gap = (variant_table.loc["U weighs 1.5 times as much"] - variant_table.loc["author"]).abs()
tables.as_published(preset != "laptop" or gap.max() < 0.02)

# %% [markdown]
# ## 2.4 The cliff was in the formula
#
# A loss finds nothing once its threshold (notebook 01) exceeds every posterior, so at the latest
# when it reaches 1. For the unweighted losses that happens at a labelled share we can compute. That
# is for endless data: by luck some regions of a small sample hold more labels, so that networks
# find a little beyond the cliff.

# %% tags=["nbval-check-output"]
cliff = pd.DataFrame(
    [
        {
            "loss": row,
            "threshold with half of the labels": losses.threshold(name, kept=0.5),
            "nothing is found beyond a missing share of": 1 - share,
        }
        for row, name, share in (
            ("CrossEntropy", "cross_entropy", 1 / 2),
            ("Exponential", "exponential", 1 / 3),
        )
    ]
)
cliff.round(3).set_index("loss")

# %% [markdown]
# **See:** cross-entropy is at its cliff with half of the labels, the exponential loss at two thirds
# missing, where their lines in the figure are half to two thirds of the way down. The draft's
# exponential loss is more robust than cross-entropy, and it is no cure: it needs its weights too.

# %% [markdown]
# ## 2.5 Move it yourself
#
# Each change trains a fresh network; it takes less than a second.


# %%
def retrain(loss: str, labelled_share: float, weight_ratio: float, noise: float):
    run = moons.MoonsRun(
        loss=loss,
        kept=labelled_share,
        weight_ratio=weight_ratio,
        noise=noise,
        epochs=100,
        learning_rate=2e-2,
    )
    title = f"{loss}, {labelled_share:.0%} labelled, w_U/w_P = {weight_ratio:g}"
    return figures.side_by_side([moons.panel(run, title)])


explore.panel(
    retrain,
    interactive=interactive,
    controls={
        "loss": ["exponential", "cross_entropy", "bootstrap_hard", "gce", "forward", "backward"],
        "labelled_share": (0.1, 1.0, 0.1, 0.5),
        "weight_ratio": (0.05, 2.0, 0.05, 0.35),
        "noise": (0.0, 0.5, 0.05, 0.2),
    },
)

# %% [markdown]
# **See:** lower the labelled share under cross-entropy at ratio 1, and watch the red region vanish;
# then lower the weight ratio, and it returns.

# %% [markdown] tags=["exercises"]
# ## Exercises
#
# They use what the cells above make, so run all of them first (Run > Run All Cells). Solutions are
# in [solutions/02_moons](solutions/02_moons.ipynb).
#
# **Warm-up.** What is the smallest share of missing labels in the sweep at which the mean balanced
# accuracy of the (unweighted) exponential loss, row *Exponential*, is below .55?

# %% tags=["exercise"]
answer = None
# BEGIN SOLUTION
means = frame[frame["row"] == "Exponential"].groupby("missing")["balanced_accuracy"].mean()
answer = float(means.index[means < 0.55].min())
# END SOLUTION
exercises.collapse(answer, frame, "Exponential")

# %% [markdown]
# **Core.** Write the balanced ratio $w_U / w_P$ for a vector of observed labels (0 unlabelled,
# 1 labelled): all of U shall weigh as much as all of P.


# %% tags=["exercise"]
def balanced_ratio(observed) -> float:
    """Return w_U / w_P."""
    # BEGIN SOLUTION
    labelled = (observed == 1).sum()
    return labelled / (len(observed) - labelled)
    # END SOLUTION


exercises.balanced(balanced_ratio)

# %% [markdown]
# **Open.** Only a fifth of the positives is labelled. Find a loss, a weight ratio, a learning rate
# and a number of epochs (these four alone) with a mean balanced accuracy of at least .85 over ten
# new seeds.

# %% tags=["exercise"]
settings = None  # such as {"loss": "weighted", "weight_ratio": 1.0, "learning_rate": 5e-3}
# BEGIN SOLUTION
ratio = losses.bayes_ratio("bootstrap_hard", 0.2)
settings = {
    "loss": "bootstrap_hard",
    "weight_ratio": ratio,
    "learning_rate": 1e-2,
    "epochs": 200,
}
# END SOLUTION
exercises.rescue(settings)

# %% [markdown]
# > **Take away.** Missing labels move the boundary, and beyond a share that the formula names they
# > move it out of the picture. Weights bring it back; the exponential loss buys time.
#
# **References.** J. Ju, draft, Figure 3, and code, 2017; Reed et al. 2014.
