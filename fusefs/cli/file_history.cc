#include "fusefs/cli/file_history.h"

#include <algorithm>
#include <set>

#include "fusefs/cli/restore_origin.h"

namespace linkspan::cli {

namespace {

// The version that the node had then, as an index. Not by number: a file that was moved over
// another took its versions along under new ones.
std::optional<size_t> version_then(const FileHistory& history, const Change& change) {
  for (size_t i = 0; i < history.versions.size(); ++i)
    if (history.versions[i].ino == change.ino && history.versions[i].at <= change.at) return i;
  return std::nullopt;
}

// Behind which version a change stands, as an index.
std::optional<size_t> place_of(const FileHistory& history, const Change& change) {
  if (const auto then = version_then(history, change)) return then;
  // The version that the node had then is not in the list: before its oldest one there.
  for (size_t i = history.versions.size(); i-- > 0;)
    if (history.versions[i].ino == change.ino && i + 1 < history.versions.size()) return i + 1;
  if (!history.whole) return std::nullopt;
  return history.versions.size();
}

// Newest first.
std::vector<Change> by_age(std::vector<Change> changes) {
  std::sort(changes.begin(), changes.end(),
            [](const Change& a, const Change& b) { return b.seq < a.seq; });
  return changes;
}

}  // namespace

std::vector<HistoryLine> lines_of(const FileHistory& history) {
  const size_t count = history.versions.size();
  std::vector<std::string> sources(count);
  std::vector<std::vector<Change>> behind(count + 1);  // each version, newest first; last: before
  const auto put = [&](Change change) {
    const auto then = version_then(history, change);
    const auto place = place_of(history, change);
    if (!place) return;
    change.version = then ? history.versions[*then].version : Version{};
    behind[*place].push_back(std::move(change));
  };
  if (history.deletion) put(*history.deletion);
  std::set<std::string> names{history.path};  // that it had since
  for (const Change& change : by_age(history.renames)) {
    const auto then = version_then(history, change);
    const bool made_it =
        then && history.versions[*then].what == "rename" && history.versions[*then].at == change.at;
    const bool here = names.count(change.path) != 0;
    if (!made_it && !here && change.ino != history.ino) continue;
    if (made_it || (then && here && origin_of(change.old_path)))
      sources[*then] = change.old_path;
    else
      put(change);
    names.insert(change.old_path);
  }
  std::vector<HistoryLine> lines;
  for (size_t i = count + 1; i-- > 0;) {
    if (i < count) {
      const bool late = history.written_since && history.deletion &&
                        history.versions[i].version > history.deletion->version;
      lines.push_back({history.versions[i], {}, sources[i], late});
    }
    for (auto change = behind[i].rbegin(); change != behind[i].rend(); ++change)
      lines.push_back({{}, *change, {}, false});
  }
  return lines;
}

}  // namespace linkspan::cli
