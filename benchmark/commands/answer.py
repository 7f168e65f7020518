"""`answer`: one question to the records, or all those that a document asks."""

from __future__ import annotations

import argparse

from benchmark.errors import UserError
from benchmark.merging import merged
from benchmark.writers import atomic


def answer(options: argparse.Namespace) -> int:
    """Print the answer to a question, or fill a document's places for answers anew."""
    from benchmark.report import answers

    if bool(options.question) == (options.into is not None):
        raise UserError(
            f"answer: name a question ({', '.join(answers.QUESTIONS)}), or a document with --into"
        )
    if options.into and options.protocol:
        raise UserError(
            "--protocol: not with --into; say it in the document: "
            "<!-- answer: seeds --protocol standard -->"
        )
    text = ""
    if options.into:
        try:
            text = options.into.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{options.into}: cannot be read ({error})") from error
    with merged([options.results]) as results:
        found = answers.evidence_of(results, options.cache)
    if options.into is None:
        print(answers.answer(options.question, found, options.results, options.protocol))
        return 0
    filled = answers.rewritten(text, found, options.results)
    with atomic(options.into) as file:
        file.write(filled.encode())
    print(f"{options.into}: {'as it was' if filled == text else 'written anew'}")
    return 0
