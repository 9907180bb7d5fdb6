#include "fusefs/cli/deleted_file.h"

#include "fusefs/cli/history_words.h"
#include "fusefs/cli/mount_report.h"
#include "fusefs/cli/system.h"

namespace linkspan::cli {

Status deletions_of(const Place& place, QueryClient* client, size_t most_asked,
                    const std::function<bool(const Change&)>& each) {
  LogQuery query;
  query.route = place.route.path;
  query.below = place.inside;
  query.what = "unlink";
  query.most_asked = most_asked;
  return client->changes(query, [&](const Change& change) {
    return change.what != "unlink" || change.path != place.inside || each(change);
  });
}

namespace {

// As far as is quickly found out.
bool was_directory(const Place& place, QueryClient* client) {
  LogQuery query;
  query.route = place.route.path;
  query.below = place.inside;
  query.most_asked = 1;
  bool was = false;
  const Status asked = client->changes(query, [&](const Change& change) {
    was = change.path != place.inside && is_below(change.path, place.inside);
    return !was;
  });
  return asked.ok() && was;
}

}  // namespace

Result<Change> find_deletion(const Place& place, uint64_t number, QueryClient* client) {
  Change found;
  LINKSPAN_CHECK(deletions_of(place, client, SIZE_MAX, [&](const Change& change) {
    if (number != 0 && change.seq.value != number) return true;
    found = change;
    return false;
  }));
  if (found.seq) return found;
  const std::string what = "the log knows of no deletion of " + place.file +
                           (number ? " with the number " + std::to_string(number) : "");
  if (number == 0 && was_directory(place, client))
    return fail(Code::not_found, what + " as a file; what was deleted in it in the last hour: " +
                                     "linkspan restore --deleted --since 1h " +
                                     shell_word(place.file));
  return fail(Code::not_found, what + "; those it knows: linkspan log --deleted " +
                                   shell_word(dir_name(place.file)));
}

Result<std::optional<VersionInfo>> written_since(const std::string& route, const Change& deletion,
                                                 QueryClient* client) {
  using Found = std::optional<VersionInfo>;
  const auto node = client->node(route, deletion.ino);
  if (!node.ok() && (is_gone(node.error()) || node.code() == Code::access_denied)) return Found();
  if (!node.ok()) return node.error();
  if (node->kind != "file" || node->nlink != 0 || node->version <= deletion.version) return Found();
  // Of a file with several names: was this the last of them?
  LogQuery query;
  query.route = route;
  query.what = "unlink";
  query.ino = deletion.ino;
  bool last = true;
  LINKSPAN_CHECK(client->changes(query, [&](const Change& change) {
    if (change.ino != deletion.ino || change.what != "unlink") return true;
    last = change.seq <= deletion.seq;
    return false;
  }));
  Found newest;
  if (last)
    LINKSPAN_CHECK(client->versions(route, deletion.ino, [&](const VersionInfo& info) {
      newest = info;
      return false;
    }));
  return newest;
}

bool is_gone(const Error& error) {
  return error.code == Code::stale_node || error.code == Code::not_found;
}

Error not_kept(const Place& place, const Change& deletion) {
  return fail(Code::not_found, place.file + " was deleted at " + format_time(deletion.at) +
                                   ", and its content is not kept any more (the volume's "
                                   "retention)");
}

std::string log_words(const Place& place, const Change& deletion) {
  return "linkspan log --change " + std::to_string(deletion.seq.value) + " " +
         shell_word(place.file);
}

}  // namespace linkspan::cli
