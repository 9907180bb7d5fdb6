#include "fusefs/cli/past_version.h"

#include <sys/stat.h>

#include <cerrno>

#include "fusefs/cli/history_words.h"
#include "fusefs/cli/query_client.h"
#include "fusefs/cli/system.h"

namespace linkspan::cli {

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

Result<PastVersion> find_past_version(const std::string& text, uint64_t version) {
  PathVersion named{text, Version{version}};
  if (version == 0) named = parse_path_version(text);
  if (!named.version)
    return fail(Code::invalid, "which version? Write " + text + "@N; `linkspan log " +
                                   shell_word(text) + "` lists them");
  LINKSPAN_TRY(auto place, locate(named.path));
  LINKSPAN_TRY(const Ino ino, file_at(place));
  return PastVersion{std::move(place), ino, named.version};
}

Status PastVersion::content(const std::function<Status(const std::string&)>& piece) const {
  auto done = QueryClient(place.mount).content(place.route.path, ino, version, piece);
  if (done.ok() || done.code() != Code::not_found) return done;
  return fail(Code::not_found, place.file + " has no version " + std::to_string(version.value) +
                                   " (any more); those that are kept: linkspan log " +
                                   shell_word(place.file));
}

}  // namespace linkspan::cli
