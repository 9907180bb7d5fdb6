// Three-way merge of lines.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace linkspan::core {

// `head` and `mine` were both made from `base`. The merge has every change of either; nothing if
// both changed the same lines differently.
//
// - Lines that only were added, on both sides at the same place, are both kept: head's first, then
//   mine. A line that stands in both additions is one line: two sides that added the same text
//   added it once (that is also what makes saving again, after an own save was merged, harmless).
//   Lines without a letter or digit (blank ones, rules, brackets) are not taken for the same line
//   where that would lay one side's paragraph into the other's.
// - A line added right before or behind lines that the other side replaced or removed stays on its
//   side of them; one that the other has put there, too, is one line. Added between them, it
//   overlaps.
// - The same replacement on both sides is one replacement.
// - The last line counts as a whole line with or without a newline at its end; whether the result
//   ends in one follows the side that changed it.
//
// Pure; any thread. Texts of up to a few MiB.
std::optional<std::string> merge3(std::string_view base, std::string_view head,
                                  std::string_view mine);

// A NUL in the first 8 KiB: not text, never to be merged by lines.
bool looks_binary(std::string_view content);

}  // namespace linkspan::core
