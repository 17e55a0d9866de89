#!/usr/bin/env bash
# Lines of fields with tabs between them, in columns. An empty field is shown as "-".
set -euo pipefail
awk -F '\t' '
  { rows = NR; for (i = 1; i <= NF; i++) { cell[NR, i] = $i == "" ? "-" : $i; if (length(cell[NR, i]) > width[i]) width[i] = length(cell[NR, i]) } fields[NR] = NF }
  END {
    for (row = 1; row <= rows; row++) {
      line = " "
      for (i = 1; i < fields[row]; i++) line = line sprintf(" %-" width[i] "s ", cell[row, i])
      print line " " cell[row, fields[row]]
    }
  }'
