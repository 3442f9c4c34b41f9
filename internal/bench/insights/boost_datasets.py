"""Makes the public sets of card transactions that queries/anomaly/boost's TestPublicSets reads.

    boost_datasets.py FOLDER HANDBOOK [CREDITCARD]

FOLDER      gets fraud/*.csv: a heading, rows oldest first, the label last; name it to the test with CARDLAKE_DATASETS
HANDBOOK    a clone of github.com/Fraud-Detection-Handbook/simulated-data-transformed (Le Borgne, Siblini, Lebichot & Bontempi,
            Reproducible Machine Learning for Credit Card Fraud Detection, ULB 2022): fourteen days from 2018-07-25 on are taken
CREDITCARD  creditcard.csv of ULB's Machine Learning Group (Dal Pozzolo et al., IEEE SSCI 2015; Open Database License), if you have it

Needs pandas.
"""

import pathlib
import sys

import pandas


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1], "fraud")
    folder.mkdir(parents=True, exist_ok=True)
    days = pandas.date_range("2018-07-25", periods=14).strftime("%Y-%m-%d")
    rows = pandas.concat([pandas.read_pickle(pathlib.Path(sys.argv[2], "data", day + ".pkl")) for day in days])
    rows = rows.sort_values("TRANSACTION_ID")
    names = [c for c in rows if c.startswith(("CUSTOMER_ID_", "TERMINAL_ID_"))]
    rows = rows[["TX_AMOUNT", "TX_DURING_WEEKEND", "TX_DURING_NIGHT"] + names + ["TX_FRAUD"]]
    rows.to_csv(folder / "handbook.csv", index=False)
    if len(sys.argv) == 4:
        rows = pandas.read_csv(sys.argv[3]).sort_values("Time", kind="stable")
        rows.drop(columns="Time").to_csv(folder / "creditcard.csv", index=False)


if __name__ == "__main__":
    main()
