# %% [markdown]
# # 01 What does each loss do to an unlabelled example?
#
# An annotator marked some of the positives and left the rest among the negatives. What a network
# makes of that is decided by one thing: how the loss treats an example that *carries no label*.

# %% [markdown]
# > **You will learn** what the losses of the draft's Figure 4 look like and how they pull; why
# > cross-entropy with half of the labels, and endless data, finds no positive at all; and a formula
# > that tells, before any training, which posterior a loss will call positive.
# >
# > **Needs** nothing but the overview (00). **Takes** half a minute. **Downloads** nothing.
# > **Expect** measured thresholds, each the mean of five networks, within .035 of the formula.

# %% tags=["parameters"]
preset = "laptop"  # smoke or laptop
device = "auto"  # auto, cpu or cuda
engine = "processes"  # processes, inline, or the tcp:// address of a cluster
interactive = True  # False: pictures without their controls

# %% tags=["setup"]
import numpy as np
import pandas as pd
import torch

from nbkit import checks, data, exercises, explore, figures, losses, noise, rng, sweep, tables
from nbkit.experiments import moons, thresholds
from nbkit.runs import Store

figures.use_style()
checks.flag("interactive", interactive)
store = Store()
sweep.check(engine, device)

# %% [markdown]
# ## 1.1 The setting: positive and unlabelled
#
# Every example has a true class $Y$, 1 for positive and 0 for negative. The annotator hands over
# labelled positives, P for short, and unlabelled examples, U. Of the positives only a share $c$
# keeps its label (`kept` in the code; the draft's "50 %" is $c = 1/2$). A labelled example is
# certainly positive. An unlabelled one may be positive or negative. Write
#
# $$\eta(x) = P(Y = 1 \mid x), \qquad \pi = P(Y = 1), \qquad a(x) = P(\text{labelled} \mid x).$$
#
# $\eta$ is the *posterior*, and $\pi$ the *prior*, the share of positives.
#
# If the annotator drops labels *completely at random* (every positive keeps its label with the same
# probability $c$, whatever it looks like), then $a(x) = c\,\eta(x)$: a classifier of labelled
# against unlabelled sees the posterior that we want, multiplied by $c$. With half of the labels
# $a(x)$ is at most one half, even where every example is positive.

# %%
x = np.linspace(-4, 4, 400)
posterior = 1 / (1 + np.exp(-2 * x))
figures.labelling(posterior, 0.5, {"cross-entropy": losses.threshold("cross_entropy", kept=0.5)})

# %% [markdown]
# **See:** the grey curve, P(labelled | x), never passes one half, so a classifier that decides at
# one half never says "positive". That is why cross-entropy has no dashed line in the picture: it
# would need a posterior of 1, which no $x$ has.

# %% [markdown]
# ## 1.2 Figure 4: the curves
#
# With logits $(-f, f)$ the probability of "positive" is $\sigma(2f)$. The draft draws three losses
# in four curves: the logistic loss of a labelled positive, and three ways to treat an unlabelled
# example. The derivatives below are the closed forms; autograd checks them. They are with respect
# to the positive logit alone; a curve on the left is twice as steep, since $f$ moves both logits.

# %%
f = np.linspace(-5, 5, 201)
logits = torch.tensor(np.stack([-f, f], 1), requires_grad=True)
positive, unlabelled = torch.ones(len(f)).long(), torch.zeros(len(f)).long()
cross_entropy, exponential = losses.create("cross_entropy"), losses.create("exponential")
curves = {
    "logistic, labelled positive": cross_entropy.per_example(logits, positive),
    "logistic, unlabelled": cross_entropy.per_example(logits, unlabelled),
    "weighted logistic (1/2), unlabelled": 0.5 * cross_entropy.per_example(logits, unlabelled),
    "exponential, unlabelled": exponential.per_example(logits, unlabelled),
}
p = 1 / (1 + np.exp(-2 * f))
slopes = dict(zip(curves, (p - 1, p, p / 2, p * (1 - p)), strict=True))
values = {name: curve.detach().numpy() for name, curve in curves.items()}
figures.save(figures.loss_curves(values, slopes, f), "figure4_losses")

# %% tags=["check", "nbval-check-output"]
for name, curve in curves.items():
    (gradient,) = torch.autograd.grad(curve.sum(), logits, retain_graph=True)
    gap = np.abs(gradient[:, 1].numpy() - slopes[name]).max()
    assert gap < 1e-12, name
print("autograd agrees with all four derivatives to 1e-12")

# %% [markdown]
# **See:** on the left the exponential loss levels off at 1. On the right its derivative peaks at
# .25, where $f = 0$, and is back at .02 where $f = 2$; that of the logistic loss goes on to 1.
#
# The draft calls this loss *exponential*, but nothing in it is. On an unlabelled example it is
# $1 - p_0$, with $p_0$ the predicted probability of class 0 ("negative"): the absolute difference
# between prediction and label. For two classes that is the sigmoid $\sigma(2f)$, and the author's
# thesis later says "sigmoid loss". We keep the draft's name.

# %% [markdown]
# ## 1.3 The pull on an unlabelled example
#
# Take an unlabelled example that the network believes positive with probability $p$. How strongly
# does each loss pull it back to "negative"? The pull is the gradient on the positive logit.

# %%
grid = np.linspace(0.001, 0.999, 400)
z = torch.tensor(np.stack([np.zeros_like(grid), np.log(grid / (1 - grid))], 1), requires_grad=True)
target = torch.zeros(len(grid)).long()
shown = ("cross_entropy", "exponential", "bootstrap_hard", "gce", "forward(kept=0.5)")
pull = {}
for spec in shown:
    loss = losses.build(spec, kept=0.5, prior=0.5, num_classes=2)
    (gradient,) = torch.autograd.grad(loss.per_example(z, target).sum(), z)
    pull[spec] = gradient[:, 1].numpy()
labels = (
    "predicted probability that the unlabelled example is positive",
    "pull towards negative",
    "Who keeps pulling when the network is sure?",
)
figures.series(grid, pull, labels)

# %% [markdown]
# (Three of the losses are new. GCE, generalised cross-entropy, is $(1 - p_y^q)/q$ with $q = .7$ and
# $p_y$ the probability of the observed label, here $p_0$. Forward correction is told $c$, and is
# $-\log(1 - c\,p)$ on U. Hard bootstrapping is cross-entropy to a target that is half the label 0
# and half the network's own decision.)
#
# **See:** cross-entropy pulls hardest, with 1, exactly where the network is surest that a positive
# was missed. Exponential, GCE and forward correction let go there: their pull returns to 0. Hard
# bootstrapping aims at one half as soon as the network believes "positive": its pull drops to 0
# there, and then rises again, to .5.

# %% [markdown]
# ## 1.4 Weighted logistic regression: conditioning on being labelled
#
# Give unlabelled examples the weight $w_U$ and labelled ones $w_P$, and let $r = w_U / w_P$. At a
# point $x$ a share $a$ of the examples is labelled; weighted, the labelled ones count $a$ and the
# others $r(1-a)$, so the best prediction is
#
# $$p_1 = \frac{a}{a + r (1 - a)}, \qquad
# \log\frac{p_1}{1 - p_1} = \log\frac{a}{1 - a} - \log r .$$
#
# For the best prediction a class weight is nothing but a shift of the log-odds by $-\log r$. (Of a
# *linear* logistic regression it moves the intercept, and some of the slope: a straight line cannot
# follow the log-odds of $c\,\eta$.) And since $a = c\,\eta$, the model decides "positive" (that is,
# $p_1 \ge 1/2$) exactly where
#
# $$\eta \;\ge\; t = \frac{r}{c\,(1 + r)} .$$
#
# Bayes' rule is $t = 1/2$; it needs $r = c / (2 - c)$, a third at half of the labels.

# %% tags=["nbval-check-output"]
rows = []
for kept in (1.0, 0.8, 0.5, 0.2, 0.1):
    rows.append(
        {
            "labelled share c": kept,
            "t at r = 1": losses.threshold("cross_entropy", kept=kept),
            "r for t = 1/2, Weighted": losses.bayes_ratio("weighted", kept),
            "r for t = 1/2, Exponential": losses.bayes_ratio("exponential", kept),
        }
    )
pd.DataFrame(rows).round(3).set_index("labelled share c")

# %% [markdown]
# **See:** unweighted cross-entropy (*t at r = 1*) needs a posterior of 1 with half of the labels,
# and of 5 with a tenth: it must then call everything negative. The ratio that puts this right falls
# from 1 with all labels to .053 with a tenth. (*Weighted* is cross-entropy with class weights. For
# Exponential the ratio is twice as large: see 1.5.)

# %% [markdown]
# ## 1.5 Why the exponential loss can beat cross-entropy
#
# On U the gradient of the exponential loss by the logits is that of cross-entropy times $p_0$. The
# wrong label pulls hardest at $p = 1/2$; beyond, the surer the network becomes of a hidden
# positive, the less it pulls. The mean loss at a point, $r (1 - a)\,p_1 - a \log p_1$, is smallest
# at $p_1 = a / (r (1 - a))$, capped at 1, which gives
#
# $$t = \frac{r}{c\,(2 + r)} ,$$
#
# two thirds at $r = 1$ and half of the labels, where cross-entropy has 1. Below, two small networks
# (one seed, no class weights), one for each loss, learn from the same 400 points of two Gaussians,
# half of the positives hidden.

# %%
drawn = data.gaussians(400, distance=3.0, rng=rng.generator(3, "figure"))
observed = noise.missing(drawn.labels, 0.5, rng=rng.generator(3, "mask")).labels
figures.save(
    figures.side_by_side(
        [
            thresholds.panel(drawn, observed, spec, title)
            for spec, title in (
                ("cross_entropy", "cross-entropy: U is negative"),
                ("exponential", "exponential: lets go of hidden positives"),
            )
        ]
    ),
    "gaussians_boundaries",
)

# %% [markdown]
# **See:** the black line is where each network decides. Cross-entropy leaves most hidden positives
# (black edges) out of the red; the exponential loss takes most of them in.

# %% [markdown]
# ## 1.6 Fade-in: why start gently?
#
# A *fade-in* starts the training with cross-entropy and hands over to another loss step by step.
# The draft wants it so that the first predictions are not all positive, and gives no schedule. In
# the author's code the share of cross-entropy in epoch $e$ is $.95^{e(e+1)/2}$: all of the loss in
# epoch 0 (1 on the axis below), .46 in epoch 5, and nothing from epoch 10 on.
#
# With *balanced* class weights (P and U weigh the same in total, see 1.7) a young network calls too
# much positive, and where it is sure of that, the exponential loss hardly pulls it back. The figure
# shows which share of its training points a network calls positive, mean over 51 seeds. The points
# are the two moons of notebook 02, with half of the positives unlabelled.

# %%
settings = {
    "balanced weights": (0.3333, False),
    "balanced weights, fade-in": (0.3333, True),
    "no weights": (1.0, False),
    "no weights, fade-in": (1.0, True),
}
start = {}
for name, (ratio, fade_in) in settings.items():
    stack = [
        moons.MoonsRun(
            loss="exponential", weight_ratio=ratio, fade_in=fade_in, epochs=40, seed=seed
        )
        for seed in range(51)
    ]
    watched = moons.fit(stack, watch=True).history.epochs
    start[name] = torch.stack(watched).mean(1).numpy()
labels = ("epoch", "share called positive", "The first epochs of the exponential loss")
figures.series(np.arange(1, 41), start, labels)

# %%
seen = pd.DataFrame(start).agg(["min", "max"]).T
seen["after 40 epochs"] = [share[-1] for share in start.values()]
seen.round(2)

# %% [markdown]
# **See:** the truth is one half. With balanced weights the share overshoots to .81, with the
# fade-in to .70, as the draft intended, and both settle at .6: the threshold is .29, not one half.
# Without weights it dips to .20, with the fade-in even to .16, and both settle near .41, at a
# threshold of .67. After forty epochs the fade-in has left no trace. Notebook 03 shows what it does
# to the final score on images.

# %% [markdown]
# ## 1.7 Class imbalance
#
# *Balanced* weights make labelled and unlabelled examples weigh the same in total: $r = n_P / n_U$,
# labelled over unlabelled, which is $\pi c / (1 - \pi c)$. Compare with Bayes' $r = c / (2 - c)$:
# the two agree only at $\pi = 1/2$. When positives are rare (a few object pixels in an image),
# balanced weights overshoot.

# %%
figures.balance(0.5)

# %% [markdown]
# **See:** with balanced weights the threshold of Weighted (blue) is the prior itself, so it is one
# half only where the prior is; that of Exponential (orange) is one half only at a prior of .8.
# There the two errors of the title cancel: missing labels raise the threshold, and balanced weights
# lower it. With 5 % of positives Weighted calls an example positive from a posterior of .05 on,
# Exponential from .025 on. The way out is to compute the ratio from $c$ (1.4), not to balance.

# %% [markdown]
# ## 1.8 Risks made for PU learning
#
# Another family does not repair the loss of single examples. It estimates the *risk* that full
# labels would give, from means over two samples: $E_P$ over the labelled positives, $E_X$ over
# everybody, P and U pooled. Let $\ell^+$ and $\ell^-$ be the losses of an example that is given the
# label positive and negative; ours are $p_0$ and $1 - p_0$, with $p_0$ the probability of class 0.
# The negatives are everybody minus the positives:
#
# $$R = \pi\,E_P[\ell^+] + \bigl(E_X[\ell^-] - \pi\,E_P[\ell^-]\bigr) .$$
#
# - **uPU** (unbiased) minimises $R$ as it stands. The bracket stands for the risk of the negatives,
#   which cannot be below 0; its estimate can, and a network that memorises the labelled positives
#   drives it there.
# - **nnPU** (non-negative) stops that: where the bracket is negative on a batch, it steps back.
# - **Dist-PU** (distributions) asks only that the mean prediction be $\pi$ over all examples, and 1
#   over P.
# - **VPU** (variational) needs no prior: it minimises $\log E_X[\phi] - E_P[\log\phi]$, with $\phi$
#   the probability of "positive".
#
# The first three must be told $\pi$. Where there are several positive categories, our versions of
# all four add the cross-entropy among the categories on the labelled positives, weighed with $\pi$;
# for this term VPU is told $\pi$ too. Notebooks 03 and 04 train Dist-PU and VPU with what their
# papers add: *mixup* (the prediction for a mixture of two examples is pulled towards the mixture of
# their targets), and for Dist-PU a penalty on the entropy of the predictions.
#
# What does nnPU do that uPU does not? Below, a network has memorised the labels of 32 examples: it
# calls the 8 labelled ones positive and the 24 unlabelled ones negative.

# %% tags=["nbval-check-output"]
memorised = torch.tensor([[-2.0, 2.0]] * 8 + [[2.0, -2.0]] * 24)  # P positive, U negative
labels_of = torch.tensor([1] * 8 + [0] * 24)
for name in ("upu", "nnpu"):
    z = memorised.clone().requires_grad_()
    risk = losses.build(name, kept=0.5, prior=0.5, num_classes=2)(z, labels_of)
    (gradient,) = torch.autograd.grad(risk, z)
    print(f"{name:5} risk {risk.item():+.3f}, slope on an unlabelled {gradient[-1, 1].item():+.5f}")

# %% [markdown]
# **See:** the network's uPU risk is *negative* (-.223), and the slope by the positive logit of an
# unlabelled example is positive (+.00055): training goes on pushing the unlabelled towards
# "negative". Under nnPU the slope has the opposite sign (-.00055): the step pushes them towards
# "positive", away from what was memorised.
#
# ## 1.9 The threshold calculus, measured
#
# The same argument, point by point, gives a closed form for uPU and for every loss of single
# examples except the noise layer (notebook 03, 3.4, has the terms of all losses). For VPU, for
# Dist-PU, and for nnPU told too large a prior, the form also needs the distribution of the
# posteriors; `help(losses.threshold)` lists all of them. Do trained networks obey? On Gaussians the
# posterior is known, so we can look. Each of fourteen losses is trained at six settings: two
# labelled shares, and three weight ratios (for uPU and nnPU three priors that they are told, for
# VPU and Dist-PU three true ones). At each setting five small networks (five seeds) learn from
# 40,000 PU-labelled points, and we read off the posterior from which they say "positive" (last
# epoch, CPU; `nbkit sweep thresholds`).

# %%
runs = thresholds.grid(preset)
sweep.compute(runs.values(), engine=engine, device=device, store=store)
every = store.grid_frame(runs, ("loss", "kept", "value", "seed"))
closed = {run.key: round(thresholds.closed_form(run), 4) for run in runs.values()}
every["closed_form"] = every["key"].map(closed)
outside = every["key"].isin([run.key for run in thresholds.limits(preset).values()])
frame, limits = every[~outside], every[outside]
figures.save(figures.measured_thresholds(frame), "thresholds_measured")

# %% tags=["nbval-check-output"]
groups = ["loss", "kept", "value", "closed_form"]
table = tables.summary(frame, groups, ["threshold"])
tables.save(tables.printed(table), "thresholds")
gap = (table["threshold", "mean"] - table.index.get_level_values("closed_form")).abs()
worst = gap.groupby("loss", sort=False).max().round(3).rename("largest difference")
worst.to_frame()

# %% tags=["check"]
tables.as_published(preset != "laptop" or worst.max() < 0.035)

# %% [markdown]
# **See:** every marker, a loss at a setting (mean of the five, bars: one standard deviation), lies
# near the diagonal. The table above has the largest difference of each loss, from .007 (GCE) to
# .034 (Dist-PU). uPU and nnPU have the same numbers, since nnPU's correction sleeps at these
# priors. "Noise-robust" losses of one form for both classes (GCE, symmetric CE) have exactly the
# formula of cross-entropy: they forgive noise that goes both ways, and missing labels go one way.
#
# The settings above meet the formula's assumptions; those of the next table break them. (*kept* is
# $c$; *value* is the weight ratio of Backward, the prior that nnPU is told, the true one of VPU.)

# %% tags=["nbval-check-output"]
broken = tables.printed(tables.summary(limits, groups, ["threshold"]))
tables.save(broken, "thresholds_limits")
broken

# %% [markdown]
# **See:** three ways to leave the formula, and a fourth that the table does not show.
#
# - *Backward* correction follows it only for $r \ge 1$; below, its risk has no lower bound. At
#   $r = 1/2$ the networks flip at .204 instead of .286.
# - *nnPU* follows the formula of uPU, $\pi / (2 q)$ for a told prior $q$, as long as its correction
#   sleeps. Told .65 instead of .5, that would be .385. The correction, at work where the bracket of
#   1.8 reaches 0, brings it down to .312, which is what *closed_form* says (measured: .296).
# - *VPU* leaves the scale of its output open. A mixup of weight .006 (above) fixes it; a heavier
#   one moves the threshold, which should be .5. With the weight of its authors, .03, used in
#   notebooks 03 and 04, VPU calls positive a little too early, from .467 on; with .3 from .349 on.
# - *Dist-PU* (not in the table) compares the means of a batch inside an absolute value, so that
#   small batches would move its threshold: all losses have batches of 4,000 here, where photographs
#   have 32 (CIFAR at full size 128).

# %% [markdown]
# ## 1.10 Move it yourself


# %%
def thresholds_at(weight_ratio: float, labelled_share: float, prior: float):
    eta = prior * np.exp(x) / (prior * np.exp(x) + (1 - prior) * np.exp(-x))
    found = {
        name: losses.threshold(name, kept=labelled_share, weight_ratio=weight_ratio)
        for name in ("cross_entropy", "exponential", "bootstrap_hard", "forward")
    }
    return figures.labelling(eta, labelled_share, found)


explore.panel(
    thresholds_at,
    interactive=interactive,
    controls={
        "weight_ratio": (0.05, 2.0, 0.05, 0.35),
        "labelled_share": (0.05, 1.0, 0.05, 0.5),
        "prior": (0.05, 0.95, 0.05, 0.5),
    },
)

# %% [markdown]
# **See:** at .35 cross-entropy decides near one half; exponential needs nearly twice that ratio
# (try .65), hard bootstrapping as much (its line lies on that of exponential), and forward
# correction 1.

# %% [markdown] tags=["exercises"]
# ## Exercises
#
# Warm-ups take minutes, core exercises a quarter of an hour, open ones an evening. Each has a check
# in its cell, which says what is wrong. Solutions are in
# [solutions/01_losses](solutions/01_losses.ipynb).
#
# **Warm-up.** Below which labelled share does the *unweighted* exponential loss stop finding
# positives at all?

# %% tags=["exercise"]
answer = None
# BEGIN SOLUTION
# t = 1 / (3 c) reaches 1 at a third
answer = 1 / 3
# END SOLUTION
exercises.never_positive(answer)

# %% [markdown]
# **Core.** Write the gradient of $1 - p_0$ with respect to the logits $z_0, \dots, z_K$, for any
# $K$.


# %% tags=["exercise"]
def unlabelled_gradient(z: np.ndarray) -> np.ndarray:
    """Return the derivative of 1 - softmax(z)[0] by each logit."""
    # BEGIN SOLUTION
    p = np.exp(z - z.max())
    p = p / p.sum()
    return p[0] * (p - np.eye(len(z))[0])
    # END SOLUTION


exercises.unlabelled_gradient(unlabelled_gradient)

# %% [markdown]
# **Open.** You know the balanced ratio $n_P / n_U$ of your labels and the prior $\pi$, but not the
# labelled share $c$. Write a function of the two that returns the ratio $w_U / w_P$ with which the
# weighted loss (1.4) decides at one half, whatever $c$ is.


# %% tags=["exercise"]
def bayes_from_counts(balanced_ratio: float, prior: float) -> float:
    """Return w_U / w_P for a decision at 1/2."""
    # BEGIN SOLUTION
    labelled = balanced_ratio / (1 + balanced_ratio)  # = prior * c
    c = labelled / prior
    return c / (2 - c)
    # END SOLUTION


exercises.misjudged_prior(bayes_from_counts)

# %% [markdown]
# > **Take away.** A loss decides beforehand which posterior it calls positive. With missing labels
# > that threshold is wrong unless the weights, the loss or the risk put it right; the weight ratio
# > $c/(2-c)$ (cross-entropy) or $2c/(2-c)$ (exponential) does.
#
# **References.** Elkan and Noto 2008; Patrini et al. 2017; Kiryo et al. 2017; Zhang and Sabuncu
# 2018; Chen et al. 2020; Zhao et al. 2022; J. Ju, draft and thesis (TU Delft), 2017.
