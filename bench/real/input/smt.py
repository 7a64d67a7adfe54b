# SPDX-License-Identifier: MIT
"""Prints the problems that bench/real/z3 solves, each between push and pop."""
import random


def factors(bits, product):
    """A multiplication of bit vectors turned round: mostly clauses."""
    print("(push)")
    for name in "ab":
        print(f"(declare-const {name} (_ BitVec {bits}))")
    print(f"(assert (= (bvmul ((_ zero_extend {bits}) a) ((_ zero_extend {bits}) b)) (_ bv{product} {2 * bits})))")
    print(f"(assert (bvugt a (_ bv1 {bits})))(assert (bvule a b))(assert (bvugt b (_ bv1 {bits})))")
    print("(check-sat)(get-value (a b))(pop)")


def schedule(rng, jobs, machines, limit):
    """Jobs on machines without overlap: linear differences over integers."""
    print("(push)")
    spans = [[rng.randrange(1, 9) for _ in range(machines)] for _ in range(jobs)]
    for j in range(jobs):
        for m in range(machines):
            print(f"(declare-const t{j}_{m} Int)(assert (and (>= t{j}_{m} 0) (<= (+ t{j}_{m} {spans[j][m]}) {limit})))")
        for m in range(1, machines):
            print(f"(assert (>= t{j}_{m} (+ t{j}_{m - 1} {spans[j][m - 1]})))")
    for m in range(machines):
        for j in range(jobs):
            for k in range(j):
                print(f"(assert (or (>= t{j}_{m} (+ t{k}_{m} {spans[k][m]})) (>= t{k}_{m} (+ t{j}_{m} {spans[j][m]}))))")
    print("(check-sat)(pop)")


def expand(names_nr, power):
    """A power of a sum multiplied out: hundreds of thousands of terms and rationals, built and dropped."""
    names = [f"x{i}" for i in range(names_nr)]
    total = "(+ " + " ".join(f"(* {i + 2} {name})" for i, name in enumerate(names)) + " 1)"
    print("(push)" + "".join(f"(declare-const {name} Real)" for name in names))
    print(f"(simplify (* {' '.join([total] * power)}) :som true :som_blowup 1000000000)(pop)")


def main():
    rng = random.Random(1)
    for bits, product in ((18, 131101 * 131111), (19, 262147 * 262151), (20, 524309 * 524341)):
        factors(bits, product)
    schedule(rng, 8, 5, 62)
    for names_nr, power in ((10, 5), (14, 4), (9, 5)):
        expand(names_nr, power)


if __name__ == "__main__":
    main()
