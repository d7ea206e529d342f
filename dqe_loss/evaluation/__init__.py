"""Evaluation of surrogates: agreement with raters and references, figures, report."""
