// linkspan log: a file's versions, a tree's changes, what was deleted.
#include <sys/stat.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <set>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/history_words.h"
#include "fusefs/cli/mount_report.h"
#include "fusefs/cli/query_client.h"
#include "fusefs/cli/query_json.h"
#include "fusefs/cli/restore_origin.h"
#include "fusefs/cli/router_watch.h"
#include "fusefs/cli/system.h"
#include "linkspan/clock.h"

namespace linkspan::cli {

namespace {

bool is_below(const std::string& path, const std::string& dir) {
  return dir.empty() || path == dir || path.rfind(dir + "/", 0) == 0;
}

std::string who(const std::string& principal, const std::string& sandbox) {
  return printable(principal) + "@" + printable(sandbox);
}

void print_line(Time at, const std::string& who, const std::string& what, const std::string& rest) {
  std::cout << coloured(1, Colour::dim, format_time(at)) << "  " << who << "  "
            << coloured(1, Colour::bold, printable(what)) << "  " << rest << "\n";
}

std::string sized(Version version, uint64_t size) {
  return "  v" + std::to_string(version.value) + "  " + std::to_string(size) + " bytes";
}

// What `restore` does are three changes: of a temporary file, and its rename. People see one.
class Restores {
 public:
  // Newest first. Whether it is a step of a restore that was seen already.
  bool is_step(const Change& change);

 private:
  std::set<std::pair<std::string, uint64_t>> temporaries_;  // volume/path, ino
};

bool Restores::is_step(const Change& change) {
  if (change.what == "rename" && origin_of(change.old_path)) {
    temporaries_.insert({change.volume + "/" + change.old_path, change.ino.value});
    return false;
  }
  return temporaries_.count({change.volume + "/" + change.path, change.ino.value}) != 0;
}

class Log {
 public:
  Log(const LogCommandOptions& options, Place place, Time since)
      : options_(options), place_(std::move(place)), since_(since), client_(place_.mount) {}

  Status versions(Ino ino);
  Status changes();
  Status deleted();
  // Whether what was printed is all there is to say. `not_found`: PATH never was.
  Status known();

 private:
  using Sources = std::map<uint64_t, std::string>;  // of renames: the old path, by the version
  // Asks for the newest; `take` says whether one counts.
  Status collect(const std::string& what, const std::function<bool(const Change&)>& take);
  bool is_about(const Change& change) const;
  Result<Sources> sources(const std::vector<VersionInfo>& versions);
  void print_version(const VersionInfo& info, const Sources& sources);
  const MountRoute* route_of(const Change& change) const;
  std::string path_of(const Change& change) const;
  Result<bool> kept(const Change& change);
  Result<bool> restored(const Change& change);
  void print_deleted(const Change& change, bool newest, bool kept);

  const LogCommandOptions& options_;
  const Place place_;
  const Time since_;
  QueryClient client_;
  std::vector<Change> found_;  // ascending
  bool nothing_ = true;        // was found
};

// "restore" and where from, if `old_path` says so; else the old path.
std::pair<std::string, std::string> rename_words(const std::string& old_path) {
  if (const auto origin = origin_of(old_path))
    return {"restore", "  from " + origin_words(*origin)};
  return {"rename", old_path.empty() ? std::string() : "  from " + printable(old_path)};
}

// The list of versions does not say what a file was renamed from, or that it was restored: the log
// does, which is looked through as far as is quickly done.
Result<Log::Sources> Log::sources(const std::vector<VersionInfo>& versions) {
  constexpr size_t kMostAsked = 4;
  Sources sources;
  if (versions.empty()) return sources;
  const Time oldest = versions.back().at;
  const LogQuery query{place_.route.path, place_.inside, "", "rename", oldest, kMostAsked};
  LINKSPAN_CHECK(client_.changes(query, [&](const Change& change) {
    if (change.at < oldest) return false;
    if (change.what == "rename" && change.path == place_.inside)
      sources.emplace(change.version.value, change.old_path);
    return true;
  }));
  return sources;
}

void Log::print_version(const VersionInfo& info, const Sources& sources) {
  const auto source = sources.find(info.version.value);
  const auto known = source != sources.end() ? source->second : std::string();
  const auto old_path = info.what == "rename" || origin_of(known) ? known : std::string();
  if (options_.json) {
    Json json = to_json(info);
    set_bytes(json, "volume", place_.route.volume);
    set_bytes(json, "path", place_.inside);
    if (!old_path.empty()) set_bytes(json, "old_path", old_path);
    if (const auto origin = origin_of(old_path)) json["restored_from"] = origin_words(*origin);
    std::cout << dump_line(json);
    return;
  }
  const auto [what, from] = info.what == "rename" || !old_path.empty()
                                ? rename_words(old_path)
                                : std::pair(info.what, std::string());
  print_line(info.at, who(info.principal, info.sandbox), what,
             printable(place_.route.volume + "/" + place_.inside) + sized(info.version, info.size) +
                 from + "  " + coloured(1, Colour::dim, "session " + session_text(info.session)));
}

Status Log::versions(Ino ino) {
  std::vector<VersionInfo> found;
  LINKSPAN_CHECK(client_.versions(place_.route.path, ino, [&](const VersionInfo& info) {
    if (info.at < since_) return false;
    if (options_.author.empty() || info.principal == options_.author) found.push_back(info);
    return found.size() < options_.limit;
  }));
  LINKSPAN_TRY(const auto sources, this->sources(found));
  for (auto info = found.rbegin(); info != found.rend(); ++info) print_version(*info, sources);
  return ok();
}

Status Log::collect(const std::string& what, const std::function<bool(const Change&)>& take) {
  const LogQuery query{place_.route.path, place_.inside, options_.author, what, since_, SIZE_MAX};
  LINKSPAN_CHECK(client_.changes(query, [&](const Change& change) {
    const bool theirs = options_.author.empty() || change.principal == options_.author;
    if (theirs && change.at >= since_ && take(change)) found_.push_back(change);
    return found_.size() < options_.limit;
  }));
  std::reverse(found_.begin(), found_.end());
  nothing_ = found_.empty();
  return ok();
}

bool Log::is_about(const Change& change) const {
  return is_below(change.path, place_.inside) ||
         (!change.old_path.empty() && is_below(change.old_path, place_.inside));
}

Status Log::changes() {
  Restores restores;
  LINKSPAN_CHECK(collect("", [&](const Change& change) {
    return is_about(change) && (options_.json || !restores.is_step(change));
  }));
  for (const auto& change : found_) {
    if (options_.json) {
      Json json = to_json(change);
      if (const auto origin = origin_of(change.old_path))
        json["restored_from"] = origin_words(*origin);
      std::cout << dump_line(json);
      continue;
    }
    const auto [what, from] = change.what == "rename" ? rename_words(change.old_path)
                                                      : std::pair(change.what, std::string());
    std::string rest = printable(change.volume + "/" + change.path);
    if (change.version) rest += sized(change.version, change.size);
    print_line(change.at, who(change.principal, change.sandbox), what, rest + from);
  }
  return ok();
}

Status Log::known() {
  struct stat st;
  if (!nothing_ || ::lstat(place_.file.c_str(), &st) == 0) return ok();
  bool ever = false;
  LINKSPAN_CHECK(client_.changes({place_.route.path, place_.inside, "", "", {}, SIZE_MAX},
                                 [&](const Change& change) { return !(ever = is_about(change)); }));
  if (ever) return ok();
  std::string mend;
  const auto named = parse_path_version(place_.file);
  if (named.version && ::lstat(named.path.c_str(), &st) == 0)
    mend =
        "; the versions of " + base_name(named.path) + ": linkspan log " + shell_word(named.path);
  return fail(Code::not_found, place_.file + " is not there, and the log knows nothing of it" +
                                   (mend.empty() ? "; what it knows: linkspan log " +
                                                       shell_word(dir_name(place_.file))
                                                 : mend));
}

const MountRoute* Log::route_of(const Change& change) const {
  if (!place_.route.path.empty()) return &place_.route;
  return place_.mount.route_of_volume(change.volume);
}

std::string Log::path_of(const Change& change) const {
  const auto* route = route_of(change);
  return place_.mount.dir + "/" + (route ? route->path : change.volume) + "/" + change.path;
}

Result<bool> Log::kept(const Change& change) {
  const auto* route = route_of(change);
  if (!route) return false;
  const auto asked = client_.versions(route->path, change.ino, [](const auto&) { return false; });
  if (asked.ok()) return true;
  if (asked.code() == Code::stale_node || asked.code() == Code::not_found) return false;
  if (asked.code() == Code::invalid || asked.code() == Code::is_directory) return true;  // no file
  return asked.error();
}

// Back under its name by `restore --deleted`, since then.
Result<bool> Log::restored(const Change& change) {
  const auto* route = route_of(change);
  if (!route) return false;
  const Origin origin{Origin::Kind::deletion, change.seq.value};
  bool found = false;
  LINKSPAN_CHECK(client_.changes(
      {route->path, change.path, "", "rename", change.at, SIZE_MAX}, [&](const Change& later) {
        found = later.path == change.path && origin_of(later.old_path) == origin;
        return !found && later.seq > change.seq;
      }));
  return found;
}

void Log::print_deleted(const Change& change, bool newest, bool kept) {
  const std::string path = path_of(change);
  struct stat st;
  const bool taken = ::lstat(path.c_str(), &st) == 0;
  std::string mend = "linkspan restore --deleted ";
  if (!newest) mend += "--change " + std::to_string(change.seq.value) + " ";
  mend += shell_word(path);
  if (taken) mend += " --to " + shell_word(path + ".restored");
  if (options_.json) {
    Json json = to_json(change);
    json["kept"] = kept;
    json["restore"] = kept ? Json(mend) : Json();
    std::cout << dump_line(json);
    return;
  }
  print_line(change.at, who(change.principal, change.sandbox), "deleted",
             printable(path) + "  " + std::to_string(change.size) + " bytes");
  if (kept)
    std::cout << "    " << printable(mend) << "\n";
  else
    std::cout << "    its content is not kept any more (the volume's retention)\n";
}

Status Log::deleted() {
  std::set<std::string> seen;  // paths of younger deletions
  std::set<Seq> newest;        // which `restore --deleted` takes by itself
  Status failed = ok();
  LINKSPAN_CHECK(collect("unlink", [&](const Change& change) {
    if (change.what != "unlink" || !is_below(change.path, place_.inside)) return false;
    // Those of other authors are not seen.
    if (seen.insert(change.volume + "/" + change.path).second && options_.author.empty())
      newest.insert(change.seq);
    const auto back = restored(change);
    if (!back.ok()) failed = back.error();
    return back.ok() && !*back;
  }));
  LINKSPAN_CHECK(failed);
  for (const auto& change : found_) {
    LINKSPAN_TRY(const bool is_kept, kept(change));
    print_deleted(change, newest.count(change.seq) != 0, is_kept);
  }
  return ok();
}

}  // namespace

int log_command(const LogCommandOptions& options) {
  Time since;
  if (!options.since.empty()) {
    const auto parsed = parse_since(options.since, Clock::system().now());
    if (!parsed.ok()) {
      complain(parsed.error());
      return kUsage;
    }
    since = *parsed;
  }
  const RouterWatch watch(options.path);
  auto place = locate(options.path);
  if (!place.ok()) return complain(watch.explain(place.error()));
  struct stat st;
  const bool file = ::stat(place->file.c_str(), &st) == 0 && S_ISREG(st.st_mode);
  const bool on_route = !place->route.path.empty();
  Log log(options, std::move(*place), since);
  Status done = options.deleted    ? log.deleted()
                : file && on_route ? log.versions(Ino{st.st_ino})
                                   : log.changes();
  if (done.ok()) done = log.known();
  std::cout << std::flush;
  if (!done.ok()) return complain(watch.explain(done.error()));
  return kSuccess;
}

}  // namespace linkspan::cli
