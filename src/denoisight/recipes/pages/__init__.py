"""The report pages: what runs, evaluations, analyses and created sets left behind, in words, tables and pictures."""
