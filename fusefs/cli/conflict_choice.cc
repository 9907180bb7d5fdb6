#include "fusefs/cli/conflict_choice.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "fusefs/cli/history_words.h"
#include "fusefs/cli/mount_report.h"
#include "fusefs/cli/system.h"

namespace linkspan::cli {

namespace {

std::string text_of(Version version) {
  return std::to_string(version.value);
}

Error changed_since(const Conflict& conflict, Version over, const VersionInfo& now, bool in_history,
                    bool theirs, const std::string& path) {
  const std::string number = std::to_string(conflict.number.value);
  const Version seen = over ? over : conflict.head;
  std::string was = "the file was gone when conflict " + number + " was kept";
  if (seen) was = "another file was there when conflict " + number + " was kept";
  if (in_history) was = "conflict " + number + " was held against version " + text_of(seen);
  if (over) was = "--over says version " + text_of(over);
  const std::string here = shell_word(path);
  const std::string look =
      in_history ? "linkspan diff " + shell_word(path + "@" + text_of(seen)) + " " + here
                 : "cat " + here;
  const std::string with = " --over " + text_of(now.version);
  return fail(Code::conflict,
              path + " is version " + text_of(now.version) + " now, which " + now.principal + "@" +
                  now.sandbox + " wrote at " + format_time(now.at) + "; " + was +
                  ". Nothing was changed. Look at it (" + look +
                  "), put it into FILE, too, and say: linkspan resolve " + number +
                  " --merged FILE" + with + (theirs ? " (--theirs" + with + " if it may go)" : ""));
}

// Nothing is lost where nothing is.
Status check_unchanged(const Conflict& conflict, Version over, bool theirs,
                       const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return errno == ENOENT ? ok() : system_error(path, errno);
  LINKSPAN_TRY(const auto place, locate(path));
  const Version seen = over ? over : conflict.head;
  std::optional<VersionInfo> now;
  bool in_history = false;
  LINKSPAN_CHECK(QueryClient(place.mount)
                     .versions(place.route.path, Ino{st.st_ino}, [&](const VersionInfo& version) {
                       if (!now) now = version;
                       in_history =
                           version.version == seen && (over || version.ino == conflict.ino);
                       return version.version > seen;
                     }));
  if (!now || (in_history && now->version == seen)) return ok();
  return changed_since(conflict, over, *now, in_history, theirs, path);
}

}  // namespace

Result<ConflictName> parse_conflict(const std::string& text) {
  constexpr size_t kDigits = 18;  // so that it cannot overflow
  const auto end = text.find_last_not_of('/');
  const std::string path = end == std::string::npos ? "" : text.substr(0, end + 1);
  const std::string name = base_name(path);
  const size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
  const bool folder = digits < name.size() && name[digits] == '-';
  const uint64_t number = digits > 0 && digits <= kDigits ? std::stoull(name.substr(0, digits)) : 0;
  if (number == 0 || !(folder || text.size() == digits))
    return fail(Code::invalid, text +
                                   " is no conflict: give its number, or its folder in "
                                   ".linkspan/conflicts (ls DIR/.linkspan/conflicts)");
  return ConflictName{number, path.find('/') == std::string::npos ? std::string() : path};
}

Result<FoundConflict> find_conflict(const std::string& mount, const std::string& name) {
  LINKSPAN_TRY(const auto named, parse_conflict(name));
  const uint64_t number = named.number;
  LINKSPAN_TRY(auto root, find_mount_root(mount.empty() ? named.folder : mount));
  LINKSPAN_TRY(auto conflict, QueryClient(root).conflict(number));
  const auto* route = root.route_of_volume(conflict.volume);
  if (!route)
    return fail(Code::not_found, "conflict " + std::to_string(number) + " is in volume " +
                                     conflict.volume + ", which this mount does not show");
  FoundConflict found{root, std::move(conflict), *route, {}};
  found.file = root.dir + "/" + route->path + "/" + found.conflict.path;
  return found;
}

Rewrite theirs(const FoundConflict& found) {
  Rewrite what;
  what.path = found.file;
  what.origin = {Origin::Kind::conflict, found.conflict.number.value};
  what.fill = [&found](const Sink& sink) {
    return QueryClient(found.mount)
        .content(found.route.path, found.conflict.theirs, Version{1}, sink);
  };
  return what;
}

Status save_over(const FoundConflict& found, Version over, Rewrite what) {
  const bool theirs = what.origin.kind == Origin::Kind::conflict;
  what.may_replace = [&found, over, theirs](const std::string& path) {
    return check_unchanged(found.conflict, over, theirs, path);
  };
  return rewrite(what);
}

Status settle(const FoundConflict& found) {
  return QueryClient(found.mount).settle(found.conflict.number.value);
}

}  // namespace linkspan::cli
