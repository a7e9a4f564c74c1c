"""Sentences of the report never claim more than the intervals allow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnalm.prepare_task.warnings import FEATURES
from dnalm.problems.names import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from dnalm.report import words
from dnalm.report.answer import certainty_sentence
from dnalm.report.classification import metrics_note, rare_labels_note
from dnalm.report.run import Evaluation


def difference(value, low, high):
    return {"value": value, "low": low, "high": high, "confidence": 0.95, "still_improving": False}


def checks(count=0, exact=0, reverse=0, dropped=True, half=0, relatives=0):
    return {
        "rows": {"test": {"homologs_of_train": relatives}},
        "leakage": {
            "test": {"sequences": 100, "count": count, "exact": exact, "reverse_complement": reverse},
            "dropped_from_training": dropped,
            "partial_overlap": {"word_bp": 32, "test_sequences_sharing_half": half},
        },
    }


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1))
def test_pretraining_helps_only_if_the_whole_interval_says_so(value, below, above):
    low, high = value - below, value + above
    (verdict,) = words.pretraining_verdicts({"frozen": difference(value, low, high)})
    assert (verdict["head"] == "Pretraining helped.") == (low > 0)
    assert (verdict["head"] == "Pretraining hurt.") == (high < 0)
    assert verdict["status"] == ("good" if low > 0 else "bad" if high < 0 else "unsure")


def test_ways_of_fine_tuning_with_one_answer_share_a_sentence():
    helps, unclear = difference(0.1, 0.05, 0.15), difference(0.01, -0.02, 0.04)
    assert len(words.pretraining_verdicts({"frozen": helps, "full": helps})) == 1
    heads = [v["head"] for v in words.pretraining_verdicts({"frozen": unclear, "full": helps})]
    assert heads == ["No effect of pretraining could be shown.", "Pretraining helped."]


def test_a_comparison_with_an_unfinished_fine_tuning_is_qualified():
    unfinished = difference(0.1, 0.05, 0.15) | {"still_improving": True}
    (verdict,) = words.pretraining_verdicts({"frozen": unfinished})
    assert "more epochs" in verdict["text"]
    assert "more epochs" not in words.pretraining_verdicts({"frozen": difference(0.1, 0.05, 0.15)})[0]["text"]


def test_a_baseline_is_not_said_to_win_against_an_unfinished_model_without_a_word():
    worse = difference(-0.1, -0.15, -0.05)
    assert "still improving" in words.baseline_verdict(worse, "k-mers", still_improving=True)["text"]
    assert "still improving" not in words.baseline_verdict(worse, "k-mers")["text"]


def test_nothing_measured_is_said_to_be_nothing_measured():
    assert "not measured" in words.pretraining_verdicts({})[0]["head"]
    assert words.baseline_verdict(None, None)["status"] == "unsure"
    assert "not checked" in words.leak_verdict(None)["head"]


def test_points_have_signs_and_intervals():
    text = words.baseline_verdict(difference(-0.035, -0.09, 0.008), "k-mers")["text"]
    assert text == "Accuracy against k-mers: −3.5 percentage points (95% interval −9.0 to +0.8)."


@pytest.mark.parametrize(("needed", "told"), [(690, True), (50, True), (4, False), (None, False)])
def test_what_would_settle_a_question_is_not_guessed_from_a_handful_of_sequences(needed, told):
    unclear = difference(0.01, -0.02, 0.04) | {"sequences_to_settle": needed}
    text = words.baseline_verdict(unclear, "k-mers")["text"]
    assert ("tested sequences would settle it" in text) == told


def test_the_best_of_several_baselines_is_said_to_be_that():
    worse = words.baseline_verdict(difference(-0.035, -0.09, -0.008), "k-mers", of=4)
    assert worse["status"] == "bad"
    assert worse["text"].endswith(" The best of 4 looks a little better than it is.")
    # For a model that is better than it, this only makes the answer surer.
    better = words.baseline_verdict(difference(0.035, 0.008, 0.09), "k-mers", of=4)
    assert "looks" not in better["text"]


@pytest.mark.parametrize(
    ("confidence", "said"), [(0.95, "95%"), (0.975, "97.5%"), (0.995, "99.5%"), (0.57, "57%")]
)
def test_no_interval_is_said_to_cover_all(confidence, said):
    assert words.interval_text({"value": 0.5, "low": 0.4, "high": 0.6}, confidence).startswith(f"{said} int")
    assert f"({said} interval" in words._points(difference(0.1, 0.05, 0.15) | {"confidence": confidence})


def test_a_mean_over_labels_says_over_which():
    about = {"metrics": {"exact_match": {"value": 0.5}}, "n": 10, "labels": ["a", "b", "c"]}
    leading = {"value": 0.7, "low": 0.6, "high": 0.8}
    for counts, said in (((3, 4, 5), "mean over 3 labels"), ((0, 10, 5), "mean over 1 of 3 labels")):
        metrics = about | {"label_counts": dict(zip("abc", counts, strict=True))}
        assert said in words.labels_text(metrics, leading, 0.95)


def test_a_label_that_no_tested_sequence_carries_is_named():
    note = metrics_note(MULTI_LABEL, {"labels": ["a", "b"], "label_counts": {"a": 30, "b": 0}})
    assert note.endswith("No tested sequence carries b: F1 counts as 0 there, and the areas leave it out.")
    assert "carries" not in metrics_note(
        MULTI_LABEL, {"labels": ["a", "b"], "label_counts": {"a": 9, "b": 3}}
    )


def test_a_class_that_no_tested_sequence_has_is_named():
    metrics = {"labels": ["a", "b", "c"], "label_counts": {"a": 30, "b": 0, "c": 30}}
    assert "is of class b, which counts as 0" in metrics_note(SINGLE_LABEL, metrics)
    assert "counts as 0" not in metrics_note(
        SINGLE_LABEL, metrics | {"label_counts": {"a": 9, "b": 9, "c": 9}}
    )


@pytest.mark.parametrize(("clusters", "said"), [(1000, False), (995, False), (970, True)])
def test_the_first_screen_says_that_relatives_were_taken_together_where_it_matters(clusters, said):
    accuracy = {"value": 0.8, "low": 0.7, "high": 0.9}
    about = {"problem": SINGLE_LABEL, "n": 1000, "metrics": {"accuracy": accuracy}}
    sentence = certainty_sentence(Evaluation(about | {"bootstrap": {"clusters": clusters}}), None)
    assert sentence.startswith("With 1,000 test sequences the accuracy is known to about ±0.100. ")
    assert ("the interval takes all as 970 independent groups. The interval covers" in sentence) == said


def test_an_accuracy_of_all_is_not_known_to_reach_beyond_it():
    about = {
        "problem": SINGLE_LABEL,
        "n": 150,
        "metrics": {"accuracy": {"value": 1.0, "low": 0.975, "high": 1.0}},
    }
    sentence = certainty_sentence(Evaluation(about | {"bootstrap": {"clusters": 150}}), None)
    assert sentence.startswith(
        "With 150 test sequences the accuracy is known to lie between 0.975 and 1.000. "
    )


def of_classes(matrix, balanced):
    counts = {name: sum(row) for name, row in zip(("closed", "open"), matrix, strict=True)}
    right, n = matrix[0][0] + matrix[1][1], sum(map(sum, matrix))
    accuracy = {"value": right / n, "low": right / n - 0.05, "high": right / n + 0.05}
    metrics = {"balanced_accuracy": {"value": balanced}, "accuracy": accuracy}
    about = {"labels": list(counts), "label_counts": counts, "confusion_matrix": matrix, "n": n}
    return about | {"metrics": metrics}


def test_an_accuracy_that_is_the_share_of_the_frequent_class_is_no_good_news():
    """Of 1 to 50 a classifier that says the same of all has an accuracy of 0.98."""
    blind = of_classes([[100, 0], [2, 0]], 0.5)
    (verdict,) = words.majority_verdict(blind, difference(0.0, 0.0, 0.0))
    assert verdict["status"] == "warn"
    assert verdict["head"] == "Not shown to be better than always naming the most frequent class."
    assert "It recognises none of the 2 of class open." in verdict["text"]
    assert "count alike: 0.500; guessing gives 0.500." in verdict["text"]
    # Where that baseline was not evaluated.
    (verdict,) = words.majority_verdict(blind, None)
    assert verdict["text"].startswith("Of the tested sequences 98.0% are of that class. It recognises none")
    assert words.majority_verdict(of_classes([[90, 10], [10, 90]], 0.9), None) == []
    (verdict,) = words.majority_verdict(of_classes([[180, 0], [20, 0]], 0.5), difference(0.1, 0.05, 0.2))
    assert verdict["head"] == "Not every class is recognised."


def test_a_classifier_that_knows_its_classes_hears_nothing_of_the_majority():
    assert words.majority_verdict(of_classes([[90, 10], [10, 90]], 0.9), difference(0.4, 0.3, 0.5)) == []


def test_predictors_that_are_right_on_the_same_sequences_have_no_interval_of_their_difference():
    text = words.baseline_verdict(difference(0.0, 0.0, 0.0), "k-mers")["text"]
    assert text.endswith("0.0 percentage points (no interval: the same whichever sequences are drawn).")


def test_a_cross_validation_has_no_test_split_to_speak_of():
    cut = {"cut": 2, "max_tokens": 64, "cut_fraction": 0.083, "unread_fraction": 0.002}
    (verdict,) = words.cut_verdict({"test": cut}, folds=4)
    assert "So were 8.3% of the tested sequences (0.2% of all their bases)." in verdict["text"]
    crossed = checks() | {"folds": {"sequences": [25] * 4, "clusters": 100, "largest_cluster": 1}}
    assert "none is related to another" in words.leak_verdict(crossed)["text"]
    crossed["folds"]["largest_cluster"] = 3
    assert "related ones shared one of 4." in words.leak_verdict(crossed)["text"]
    crossed["groups"] = {"column": "chromosome", "count": 22}
    assert "none stood in two folds, and no chromosome was parted." in words.leak_verdict(crossed)["text"]
    crossed["rows"] = {"test": {"homologs_of_train": 4}}
    verdict = words.leak_verdict(crossed)
    assert verdict["status"] == "warn" and "4 test sequences are related to training" in verdict["text"]


def test_a_clean_test_set():
    verdict = words.leak_verdict(checks())
    assert verdict["status"] == "good" and "None of the 100 test sequences" in verdict["text"]


def test_leaks_that_were_removed():
    verdict = words.leak_verdict(checks(3, 2, 1))
    assert verdict["status"] == "good"
    assert "3 of 100 test sequences" in verdict["text"] and "dropped" in verdict["text"]


def test_leaks_that_were_kept_are_bad_news():
    verdict = words.leak_verdict(checks(3, 2, 1, dropped=False, half=3))
    assert verdict["status"] == "bad" and "too good to be true" in verdict["text"]
    # Whole leaks are not told a second time as partial ones.
    assert "at least half" not in verdict["text"]


def test_partial_overlap_is_a_warning():
    verdict = words.leak_verdict(checks(half=7))
    assert verdict["status"] == "warn" and "7 share at least half" in verdict["text"]


def test_relatives_in_training_are_a_warning():
    verdict = words.leak_verdict(checks(relatives=7))
    assert verdict["status"] == "warn"
    assert verdict["head"] == "No test sequence leaked, but some have relatives in training."
    assert "7 test sequences are related to training sequences" in verdict["text"]
    assert words.leak_verdict(checks(3, 2, 1, relatives=1))["status"] == "warn"
    # Told, and no reason for alarm: one in a thousand.
    few = checks(relatives=1)
    few["leakage"]["test"]["sequences"] = 1000
    verdict = words.leak_verdict(few)
    assert (verdict["status"], verdict["head"]) == ("good", "No test sequence leaked.")
    assert "1 test sequence is related" in verdict["text"]
    # Who let leaks stay knows worse.
    assert "related" not in words.leak_verdict(checks(3, 2, 1, dropped=False, relatives=9))["text"]


@pytest.mark.parametrize(
    ("metrics", "name"),
    [
        ({"name": "demo", "kind": "model", "backbone": "frozen"}, "demo pretrained, frozen"),
        (
            {"name": "demo-untrained", "kind": "untrained", "backbone": "full"},
            "demo untrained, fine-tuned in full",
        ),
        ({"name": "kmer", "kind": "baseline", "backbone": None}, "k-mer regression"),
    ],
)
def test_names_of_predictors(metrics, name):
    assert words.predictor_name(metrics) == name


@given(st.floats(1, 1e6), st.floats(0.1, 1e6))
def test_suggested_resources_cover_what_was_needed(peak_mb, seconds):
    assert words.suggested_memory_mb(peak_mb) >= 2 * peak_mb - 1e-3
    assert words.suggested_runtime_min(seconds) * 60 >= 2 * seconds - 1e-3


def test_small_words():
    assert words.listing(["a", "b", "c"]) == "a, b and c"
    assert (
        words.count(1, "sequence") == "1 sequence"
        and words.count(2000, "class", "classes") == "2,000 classes"
    )
    assert words.bases(12_100_000) == "12.1 Mb" and words.bases(950) == "950 bp"
    assert words.rounded(43_861_504) == "43.9 million" and words.rounded(688_640) == "688,640"
    # Nothing large is told in powers of ten.
    assert words.rounded(2_500_000_000) == "2.5 billion" and words.bases(999_999) == "1 Mb"
    assert words.bases(4_100_000_000_000) == "4,100 Gb"
    assert [words.significant(value) for value in (0.4616, 14.1, 14_100)] == ["0.462", "14.1", "14,100"]
    assert words.significant(1234, 2) == "1,234" and words.significant(0.00012, 2) == "0.00012"
    assert words.estimate({"value": -0.02, "low": -0.1, "high": 0.05}) == "−0.020 (−0.100 to 0.050)"
    assert words.signed(-0.02) == "−0.020" and words.number(150.0951) == "150.1"
    assert words.between(70, 70) == "70" and words.span({"min": 80, "max": 1200}) == "80 to 1,200 bp"
    assert [words.model_name(name) for name in ("a", "a-untrained", "a-published")] == [
        *("a", "a untrained", "a as published")
    ]


@given(st.floats(-1, 1))
def test_a_number_is_said_to_be_0_or_1_only_if_it_is(value):
    said = words.number(value)
    assert (float(said.replace("−", "-")) in (0, 1, -1)) == (
        min(abs(abs(value) - 1), abs(value)) < words.NOISE
    )
    assert abs(float(said.replace("−", "-")) - value) <= 0.0005 + 1e-12


@given(st.floats(0, 1))
def test_a_share_is_said_to_be_none_or_all_only_if_it_is(value):
    said = words.share(value)
    assert said not in ("0%", "100%") or min(value, 1 - value) < words.NOISE
    assert words.share(0) == "0%" and words.share(1, 1) == "100.0%"
    assert words.share(value, 1) != "0.0%" or value < words.NOISE


def test_numbers_near_their_ends():
    assert [words.number(value) for value in (0.9996, 0.99999, 1.0, 0.0004, 0.0, -0.0)] == [
        *("0.9996", "0.99999", "1.000", "0.0004", "0.000", "0.000")
    ]
    assert [words.share(value) for value in (0.998, 0.002, 0.97, 1)] == ["99.8%", "0.2%", "97%", "100%"]
    assert [words.guessed(value) for value in (0.0003, 0.31, 0.9998)] == ["<1%", "31%", ">99%"]
    assert words.signed(0.0003) == "+0.0003" and words.signed(0) == "0.000"


def test_an_interval_that_ends_beside_zero_is_not_said_to_touch_it():
    text = words.baseline_verdict(difference(0.001, 0.0003, 0.002), "k-mers")["text"]
    assert text.endswith("+0.1 percentage points (95% interval +0.03 to +0.2).")


def test_what_has_a_unit_keeps_its_digits():
    """Measured values may be small: an expression in moles is not 0.000."""
    said = [words.quantity(value) for value in (5.956e-06, -0.000421, 0.0123, 12.345, 12218.21, 0.0)]
    assert said == ["5.96e−06", "−0.000421", "0.0123", "12.35", "12,218.2", "0.000"]
    assert words.shown_as("rmse") is words.quantity and words.shown_as("r2") is words.number


@pytest.mark.parametrize(
    ("against_best", "against_kmers", "status"),
    [
        ((0.01, 0.03), (0.02, 0.04), "good"),
        ((0.01, 0.03), (-0.01, 0.02), "unsure"),
        ((0.01, 0.03), (-0.04, -0.01), "bad"),
    ],
)
def test_stacking_is_better_only_if_it_is_better_than_all(against_best, against_kmers, status):
    differences = {
        name: difference((low + high) / 2, low, high)
        for name, (low, high) in (("frozen", against_best), ("k-mers", against_kmers))
    }
    verdict = words.stacking_verdict(differences, ["frozen", "k-mers"], 10)
    assert verdict["status"] == status
    assert "the 10 validation sequences, so few that the weights stay close to equal ones." in verdict["text"]
    assert ("In 2 comparisons chance alone" in verdict["text"]) == (status == "bad")


def test_a_difference_that_is_not_defined_says_nothing_for_or_against():
    verdict = words.baseline_verdict(
        {"value": None, "low": None, "high": None, "confidence": 0.95, "metric": "auroc_macro"}, "k-mers"
    )
    assert verdict["status"] == "unsure"
    assert "Macro AUROC against k-mers: not defined on this test split." in verdict["text"]


@pytest.mark.parametrize(
    ("problem", "counts", "rare"),
    [
        (SINGLE_LABEL, {"a": 180, "b": 20}, ""),
        (SINGLE_LABEL, {"a": 181, "b": 19}, "are of class b:"),
        (SINGLE_LABEL, {"a": 18, "b": 19}, "are of each of the classes a and b:"),
        (MULTI_LABEL, {"a": 100, "b": 19, "c": 181}, "carry, or do not carry, b and c:"),
        (REGRESSION, None, ""),
    ],
)
def test_intervals_of_rare_labels_are_not_believed(problem, counts, rare):
    """Of 5 or 10 positives 95% intervals of AUROC, MCC and balanced accuracy held the truth in 77 to 97%."""
    note = rare_labels_note({"problem": problem, "label_counts": counts, "n": 200})
    assert rare in note and bool(note) == bool(rare)


def test_a_training_that_diverged_is_said_to_have_failed():
    (verdict,) = words.training_verdict("dna", {0: 5.562, 10: 9.1, 20: 7.022}, 0.5)
    assert verdict["status"] == "bad" and verdict["head"] == "Training made dna worse."
    assert "5.562 before and is 7.022 after 20 steps" in verdict["text"] and "it was 0.5" in verdict["text"]


def test_a_model_that_learned_its_lines_by_heart_is_named():
    (verdict,) = words.training_verdict("dna", {0: 5.5, 10: 4.9, 20: 5.2}, 1e-3)
    assert (
        verdict["status"] == "warn" and "lowest at step 10, 4.900, and is 5.200 at the end" in verdict["text"]
    )


@pytest.mark.parametrize("losses", [{0: 5.5}, {0: 5.5, 10: 4.9, 20: 4.92}, {0: 5.5, 10: 5.49}])
def test_a_training_whose_loss_fell_hears_nothing_of_it(losses):
    assert words.training_verdict("dna", losses, 1e-3) == []


def test_a_classifier_that_only_got_worse_on_the_validation_split_is_named():
    summary = {"kept": {"epoch": 3}, "sequences": {"validation": 30}, "settings": {"learning_rate": 1e-3}}
    (verdict,) = words.finetuning_verdict("dna", {0: 0.716, 1: 0.95, 3: 0.903}, summary)
    assert "0.716 before training and is 0.903 in the best epoch, 3" in verdict["text"]
    assert verdict["text"].endswith("With 30 validation sequences it may be chance.")
    assert words.finetuning_verdict("dna", {0: 0.716, 1: 0.7, 3: 0.6}, summary) == []
    (verdict,) = words.finetuning_verdict("dna", {0: 0.762, 3: 64.19}, summary)
    assert "chance" not in verdict["text"]


def test_a_classifier_that_learned_from_a_handful_is_not_believed():
    (verdict,) = words.few_sequences_verdict({"train": 18, "validation": 2, "test": 20})
    assert verdict["status"] == "warn" and "learned from 18 and chose their epoch with 2." in verdict["text"]
    assert words.few_sequences_verdict({"train": 30, "validation": 2, "test": 20}) == []


def test_a_small_loss_is_not_said_to_be_none():
    assert [words.loss(value) for value in (0, 3e-6, 0.00006, 0.54834)] == [
        "0.0000",
        "<0.0001",
        "0.0001",
        "0.5483",
    ]
    assert words.loss(0.003, 2) == "<0.01"


def test_what_tells_the_classes_apart_without_being_read_stands_on_the_first_screen():
    def told(**areas):
        found = {
            feature: {"auroc": area, "label": "ja", "tells": area > 0.6} for feature, area in areas.items()
        }
        return words.composition_verdict(found, FEATURES)

    (verdict,) = told(length=0.76, gc=0.9996, lower_case=1.0)
    assert verdict["status"] == "warn"
    assert verdict["head"] == "The share of G and C alone tells the classes apart."
    assert "label ja from the others with an AUROC of 0.9996" in verdict["text"]
    assert told(length=0.5, gc=0.7, lower_case=0.9) == []
    assert words.composition_verdict({"gc": {"spearman": 0.9, "tells": True}}, FEATURES) == []


def test_a_loss_that_adaptation_raised_is_said_to_be_higher():
    change = {"value": -0.12, "low": -0.15, "high": -0.09}
    metrics = {
        "published": {"improvement": change, "metrics": {"loss": {"value": 5.0}}},
        "metrics": {"loss": {"value": 5.12}},
        "settings": {"confidence": 0.95},
        "hidden_tokens": 1000,
    }
    verdict = words.held_out_change_verdict(metrics)
    assert verdict["status"] == "bad"
    assert verdict["text"].endswith("higher by 0.1200 (95% interval 0.0900 to 0.1500).")


def test_a_model_that_is_no_better_than_guessing_is_said_to_have_learned_nothing():
    def told(loss):
        losses = {"uniform": 6.229, "unigram": 5.468}
        return words.counting_verdict(
            {
                "metrics": {"loss": {"value": loss}},
                "baselines": {name: {"loss": {"value": value}} for name, value in losses.items()},
                "advantage": {
                    name: {"value": value - loss, "low": value - loss - 0.1, "high": value - loss + 0.1}
                    for name, value in losses.items()
                },
            }
        )["text"]

    assert "not even better than guessing at random (6.229)" in told(6.25)
    assert "guessing" not in told(6.0)
