#include "fusefs/cli/past_version.h"

#include <sys/stat.h>

#include <cerrno>

#include "fusefs/cli/deleted_file.h"
#include "fusefs/cli/history_words.h"
#include "fusefs/cli/query_client.h"
#include "fusefs/cli/system.h"

namespace linkspan::cli {

namespace {

// The file that is there. `not_found` with the mend, `is_directory`.
Result<Ino> file_at(const Place& place) {
  struct stat st;
  if (::stat(place.file.c_str(), &st) != 0) {
    const int error = errno;
    if (error == ENOENT)
      return fail(Code::not_found, place.file +
                                       " is not there; if it was deleted: linkspan log "
                                       "--deleted " +
                                       shell_word(dir_name(place.file)));
    return system_error(place.file, error);
  }
  if (place.route.path.empty() || S_ISDIR(st.st_mode))
    return fail(Code::is_directory, place.file + " is a directory; only files have versions");
  if (!S_ISREG(st.st_mode)) return fail(Code::invalid, place.file + " is not a plain file");
  return Ino{st.st_ino};
}

bool is_file(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode);
}

Error which_version(const std::string& text) {
  const size_t at = text.find_last_of('@');
  const bool tried = at != std::string::npos && at > 0 && text.find('/', at) == std::string::npos &&
                     !is_file(text) && is_file(text.substr(0, at));
  if (!tried)
    return fail(Code::invalid, "which version? Write " + text + "@N; `linkspan log " +
                                   shell_word(text) + "` lists them");
  const std::string path = text.substr(0, at);
  return fail(Code::invalid,
              "\"" + text.substr(at + 1) +
                  "\" is no version: they are numbers from 1 on, and `linkspan log " +
                  shell_word(path) + "` lists them");
}

// PATH itself, if that was ever deleted, else PATH@V.
Result<PastVersion> find_deleted(const std::string& text, uint64_t version, uint64_t change) {
  PathVersion named{text, Version{version}};
  LINKSPAN_TRY(Place place, locate(text));
  QueryClient client(place.mount);
  auto deletion = find_deletion(place, change, &client);
  const auto parsed = parse_path_version(text);
  if (!deletion.ok() && deletion.code() == Code::not_found && version == 0 && parsed.version) {
    named = parsed;
    LINKSPAN_TRY(place, locate(named.path));
    deletion = find_deletion(place, change, &client);
  }
  if (!deletion.ok()) return deletion.error();
  LINKSPAN_TRY(const auto after, written_since(place.route.path, *deletion, &client));
  if (!named.version) named.version = after ? after->version : deletion->version;
  return PastVersion{std::move(place), deletion->ino, named.version, *deletion, after};
}

}  // namespace

Status names_version(const std::string& text, uint64_t version, const WhichFile& which) {
  if (version != 0 || which.is_deleted() || parse_path_version(text).version) return ok();
  return which_version(text);
}

Result<PastVersion> find_past_version(const std::string& text, uint64_t version,
                                      const WhichFile& which) {
  if (which.is_deleted()) return find_deleted(text, version, which.change);
  PathVersion named{text, Version{version}};
  if (version == 0) named = parse_path_version(text);
  LINKSPAN_CHECK(names_version(text, version));
  LINKSPAN_TRY(auto place, locate(named.path));
  const auto ino = file_at(place);
  if (ino.ok()) return PastVersion{std::move(place), *ino, named.version, {}, {}};
  if (ino.code() != Code::not_found || place.inside.empty()) return ino.error();
  if (version == 0 && is_file(text))
    return fail(Code::not_found, place.file + " is not there, but " + base_name(text) +
                                     " is: for a version of that file give --version N (`linkspan "
                                     "log " +
                                     shell_word(text) + "` lists them)");
  QueryClient client(place.mount);
  const auto deletion = find_deletion(place, 0, &client);
  if (!deletion.ok()) return deletion.code() == Code::not_found ? ino.error() : deletion.error();
  LINKSPAN_TRY(const auto after, written_since(place.route.path, *deletion, &client));
  return PastVersion{std::move(place), deletion->ino, named.version, *deletion, after};
}

Status PastVersion::content(const std::function<Status(const std::string&)>& piece) const {
  auto done = QueryClient(place.mount).content(place.route.path, ino, version, piece);
  if (done.ok() || !is_gone(done.error())) return done;
  if (deletion && done.code() == Code::stale_node) return not_kept(place, *deletion);
  if (done.code() != Code::not_found) return done;
  return fail(Code::not_found, place.file + " has no version " + std::to_string(version.value) +
                                   " (any more); those that are kept: " +
                                   (deletion ? log_words(place, *deletion)
                                             : "linkspan log " + shell_word(place.file)));
}

}  // namespace linkspan::cli
