#!/usr/bin/env python3
"""Writes the migrations into one C++ source: embed_sql.py OUTPUT FILE.sql..."""
import pathlib
import sys

output, files = sys.argv[1], sys.argv[2:]
entries = []
for number, name in enumerate(sorted(files), 1):
    path = pathlib.Path(name)
    if int(path.name.split("_")[0]) != number:
        sys.exit(f"{path.name}: migrations are numbered from 0001 without gaps")
    entries.append(f'    {{{number}, "{path.stem}", R"sql({path.read_text()})sql"}},\n')
pathlib.Path(output).write_text(
    '#include "routerd/store/pg/migrate.h"\n\n'
    "namespace linkspan::store::pg {\n"
    f"const std::array<Migration, {len(entries)}> kMigrationTable{{{{\n" + "".join(entries) + "}};\n"
    "const Migration* const kMigrations = kMigrationTable.data();\n"
    "const size_t kMigrationCount = kMigrationTable.size();\n"
    "}  // namespace linkspan::store::pg\n")
