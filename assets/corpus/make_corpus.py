#!/usr/bin/env python3
"""Makes train.jsonl and ../validation/validation.jsonl out of the sources of Python's documentation.

    apt-get download python3.11-doc && dpkg-deb -x python3.11-doc_*.deb unpacked
    python3 assets/corpus/make_corpus.py unpacked/usr/share/doc/python3.11/html/_sources

Made with Debian's python3.11-doc 3.11.2-6+deb12u9. Needs no Python packages and draws no random numbers: pages and
documents are ordered by a hash of their names, so the same sources give the same bytes.
"""

import hashlib
import json
import pathlib
import re
import sys

# Running text first; of the reference manuals, as much as fits.
WHOLE_FOLDERS = ("tutorial", "reference", "howto", "faq", "using", "extending")
SAMPLED_FOLDERS = ("library", "c-api")
SAMPLED_BYTES = 1_700_000
VALIDATION_PERCENT = 2  # of the pages
VALIDATION_BYTES = 130_000
MIN_CHARACTERS = 300  # of a document: shorter ones are mostly tables of contents
MERGE_BELOW = 1500  # a section shorter than this is joined with the next one of its page
SPLIT_ABOVE = 3000  # a section longer than this is cut between paragraphs, so that a batch mixes topics

# Directives by what is left of them. Every one not listed keeps its argument as a line, and its body.
DROPPED = set(
    "module moduleauthor sectionauthor index toctree only include highlight highlightlang literalinclude image figure "
    "raw testsetup testcleanup productionlist currentmodule tabularcolumns audit-event audit-event-table availability "
    "contents program meta centered sphinx".split()
)
BODY_ONLY = set(
    "code-block sourcecode code doctest testcode testoutput parsed-literal hlist topic glossary table list-table "
    "csv-table container highlights epigraph math".split()
)
TITLED = {"note": "Note:", "warning": "Warning:", "seealso": "See also:", "impl-detail": "CPython implementation detail:",
          "tip": "Tip:", "important": "Important:", "caution": "Caution:", "todo": "To do:", "admonition": ""}
VERSIONED = {"versionadded": "New in version", "versionchanged": "Changed in version",
             "deprecated": "Deprecated since version", "deprecated-removed": "Deprecated since version"}

DIRECTIVE = re.compile(r"^(\s*)\.\. +([\w:-]+)::\s*(.*)$")
OPTION = re.compile(r"^\s*:[\w-]+:(\s.*)?$")
ADORNMENT = re.compile(r"^([=\-~^\"'*+#.:_`])\1{2,}\s*$")
TABLE_LINE = re.compile(r"^\s*(\+[-=+]{3,}|\|.*\||=+( +=+)+)\s*$")


def indent_of(line):
    return len(line) - len(line.lstrip())


def clean_inline(line):
    """Inline markup -> the words a reader sees."""
    line = re.sub(r":[\w:.+-]+:`[!~]*([^`<]+?)\s*<[^`>]*>`", r"\1", line)
    line = re.sub(r":[\w:.+-]+:`[!~.]*([^`]+)`", r"\1", line)
    line = re.sub(r"``([^`]+)``", r"`\1`", line)
    line = re.sub(r"`([^`<]+?)\s*<[^`>]*>`__?", r"\1", line)
    line = re.sub(r"`([^`]+)`__?(?!\w)", r"\1", line)
    line = re.sub(r"(?<![\w*])\*\*([^\s*][^*]*?)\*\*(?![\w*])", r"\1", line)
    line = re.sub(r"(?<![\w*`'\"(])\*([^\s*][^*`]*?)\*(?![\w*])", r"\1", line)
    line = re.sub(r"\s?\[#?\w*\]_", "", line)
    line = line.replace("|version|", "3.11").replace("|release|", "3.11.2")
    return re.sub(r"\\([*_`|])", r"\1", line).replace("\\ ", "")


def body_end(lines, start, indent):
    """The first line at or after `start` that is not blank and not deeper than `indent`."""
    end = start
    while end < len(lines) and (not lines[end].strip() or indent_of(lines[end]) > indent):
        end += 1
    return end


def clean(lines):
    """reStructuredText lines -> (kind, text) pairs; kind is "title" or "line"."""
    out = []
    i = 0
    literal_indent = None  # inside a literal block: deeper lines are code, left as they are
    while i < len(lines):
        line = lines[i].rstrip()
        if literal_indent is not None:
            if not line or indent_of(line) > literal_indent:
                out.append(("line", line))
                i += 1
                continue
            literal_indent = None
        directive = DIRECTIVE.match(line)
        if directive:
            indent, name, argument = len(directive[1]), directive[2].split(":")[-1], directive[3]
            i += 1
            while argument.endswith("\\") and i < len(lines):
                argument = argument[:-1].rstrip() + " " + lines[i].strip()
                i += 1
            while i < len(lines) and OPTION.match(lines[i]) and indent_of(lines[i]) > indent:
                i += 1
            if name in DROPPED:
                i = body_end(lines, i, indent)
            elif name in BODY_ONLY:
                literal_indent = indent
            elif name in TITLED:
                out.append(("line", " " * indent + clean_inline(f"{TITLED[name]} {argument}".strip())))
            elif name in VERSIONED:
                version, _, rest = argument.partition(" ")
                if name == "deprecated-removed":
                    rest = rest.partition(" ")[2]
                has_body = rest or body_end(lines, i, indent) > i and any(l.strip() for l in lines[i : body_end(lines, i, indent)])
                text = f"{VERSIONED[name]} {version}" + (f": {rest}" if rest else ":" if has_body else ".")
                out.append(("line", " " * indent + clean_inline(text)))
            elif argument:
                out.append(("line", " " * indent + clean_inline(argument)))
            continue
        if re.match(r"^\s*\.\.(\s|$)", line):  # comments, labels, footnotes, substitutions
            i = body_end(lines, i + 1, indent_of(line))
            continue
        if ADORNMENT.match(line):
            following = lines[i + 1].strip() if i + 1 < len(lines) else ""
            overlined = i + 2 < len(lines) and following and ADORNMENT.match(lines[i + 2]) and not ADORNMENT.match(following)
            if overlined:
                out.append(("title", clean_inline(following)))
                i += 3
            elif out and out[-1][0] == "line" and out[-1][1].strip() and len(line) + 3 >= len(out[-1][1].strip()):
                out[-1] = ("title", out[-1][1].strip())
                i += 1
            else:
                i += 1  # a transition between paragraphs
            continue
        if line.endswith("::"):
            literal_indent = indent_of(line)
            line = line[:-2].rstrip()
            line = line + ":" if line else line
        out.append(("line", clean_inline(line)))
        i += 1
    return out


def documents_of(path):
    """The documents of one page: its sections, small ones joined, each under the page's title."""
    sections = [["", []]]
    for kind, text in clean(path.read_text(encoding="utf-8").split("\n")):
        if kind == "title":
            sections.append([text, []])
        else:
            sections[-1][1].append(text)
    page_title = sections[1][0] if len(sections) > 1 else path.name.split(".")[0]

    documents, pending = [], ""
    for title, lines in sections:
        table_lines = sum(1 for line in lines if TABLE_LINE.match(line))
        if table_lines * 5 > len(lines):
            continue
        text = "\n".join(line for line in lines if not TABLE_LINE.match(line))
        text = re.sub(r"\n{3,}", "\n\n", text).strip("\n")
        if not text:
            continue
        heading = title if title == page_title or pending or not title else f"{page_title}\n\n{title}"
        pending += ("\n\n" if pending else "") + f"{heading}\n\n{text}".strip("\n")
        if len(pending) >= MERGE_BELOW:
            documents.append(pending)
            pending = ""
    if len(pending) >= MIN_CHARACTERS:
        documents.append(pending)
    return [part for document in documents for part in split(finish(document))]


def finish(text):
    """Markup that spans lines, and addresses of people, which are no use to a language model."""
    text = re.sub(r":[\w:.+-]+:`[!~]*([^`<]+?)\s*<[^`>]*>`", r"\1", text)
    text = re.sub(r":[\w:.+-]+:`[!~.]*([^`]+)`", r"\1", text)
    text = re.sub(r"`([^`<>]+?)\s*<[^`>\s]+>`__?", r"\1", text)
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    return re.sub(r"\s?<?[\w.+-]+@[\w-]+\.[\w.-]+\w>?", "", text)


def split(text):
    """Cuts where a paragraph starts at the margin, so that no code block loses its head."""
    parts, size = [[]], 0
    for paragraph in re.split(r"\n\n(?=\S)", text):
        if size > SPLIT_ABOVE:
            parts.append([])
            size = 0
        parts[-1].append(paragraph)
        size += len(paragraph)
    if len(parts) > 1 and size < MIN_CHARACTERS:
        rest = parts.pop()
        parts[-1] += rest
    return ["\n\n".join(part) for part in parts]


def hash_of(name):
    return hashlib.sha256(name.encode()).hexdigest()


def sample(documents, max_bytes):
    taken, size = [], 0
    for name, text in sorted(documents, key=lambda item: hash_of("sample " + item[0])):
        if size >= max_bytes:
            break
        taken.append((name, text))
        size += len(text.encode())
    return taken


def write(path, documents):
    documents = sorted(documents, key=lambda item: hash_of(item[0]))
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        for _, text in documents:
            out.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    print(f"{path}: {len(documents)} documents, {path.stat().st_size} bytes")


def licence_of(sources):
    """Python's own statement of its licence, up to the licences of software that its documentation is not part of."""
    text = (sources / "license.rst.txt").read_text(encoding="utf-8")
    start = text.index("History of the software")
    end = text.index(".. _OtherLicenses:")
    lines = [line for line in text[start:end].split("\n") if not line.startswith(".. ")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip().replace("|release|", "3.11.2") + "\n"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sources = pathlib.Path(sys.argv[1])
    here = pathlib.Path(__file__).resolve().parent

    train, validation, sampled = [], [], []
    for path in sorted(sources.rglob("*.rst.txt")):
        name = path.relative_to(sources).as_posix()
        folder = name.split("/")[0]
        if folder not in WHOLE_FOLDERS + SAMPLED_FOLDERS:
            continue
        documents = [(f"{name}#{i}", text) for i, text in enumerate(documents_of(path))]
        # By page, so that validation text is not the next paragraph of training text.
        if int(hash_of(name)[:8], 16) % 100 < VALIDATION_PERCENT:
            validation += documents
        elif folder in WHOLE_FOLDERS:
            train += documents
        else:
            sampled += documents
    write(here / "train.jsonl", train + sample(sampled, SAMPLED_BYTES))
    write(here.parent / "validation" / "validation.jsonl", sample(validation, VALIDATION_BYTES))
    (here / "LICENSE.txt").write_text(licence_of(sources), encoding="utf-8")


if __name__ == "__main__":
    main()
