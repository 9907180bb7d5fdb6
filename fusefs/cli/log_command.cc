// linkspan log: a file's versions, a tree's changes, what was deleted.
#include <sys/stat.h>

#include <algorithm>
#include <iostream>
#include <set>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/history_words.h"
#include "fusefs/cli/mount_report.h"
#include "fusefs/cli/query_client.h"
#include "fusefs/cli/query_json.h"
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

class Log {
 public:
  Log(const LogCommandOptions& options, Place place, Time since)
      : options_(options), place_(std::move(place)), since_(since), client_(place_.mount) {}

  Status versions(Ino ino);
  Status changes();
  Status deleted();

 private:
  // Asks for the newest; `take` says whether one counts.
  Status collect(const std::string& what, const std::function<bool(const Change&)>& take);
  const MountRoute* route_of(const Change& change) const;
  std::string path_of(const Change& change) const;
  Result<bool> kept(const Change& change);
  void print_deleted(const Change& change, bool newest, bool kept);

  const LogCommandOptions& options_;
  const Place place_;
  const Time since_;
  QueryClient client_;
  std::vector<Change> found_;  // ascending
};

Status Log::versions(Ino ino) {
  std::vector<VersionInfo> found;
  LINKSPAN_CHECK(client_.versions(place_.route.path, ino, [&](const VersionInfo& info) {
    if (info.at < since_) return false;
    if (options_.author.empty() || info.principal == options_.author) found.push_back(info);
    return found.size() < options_.limit;
  }));
  for (auto info = found.rbegin(); info != found.rend(); ++info) {
    if (options_.json) {
      Json json = to_json(*info);
      set_bytes(json, "volume", place_.route.volume);
      set_bytes(json, "path", place_.inside);
      std::cout << dump_line(json);
      continue;
    }
    print_line(info->at, who(info->principal, info->sandbox), info->what,
               printable(place_.route.volume + "/" + place_.inside) +
                   sized(info->version, info->size) + "  " +
                   coloured(1, Colour::dim, "session " + session_text(info->session)));
  }
  return ok();
}

Status Log::collect(const std::string& what, const std::function<bool(const Change&)>& take) {
  LogQuery query{place_.route.path, place_.inside, options_.author, what, since_};
  LINKSPAN_CHECK(client_.changes(query, [&](const Change& change) {
    const bool theirs = options_.author.empty() || change.principal == options_.author;
    if (theirs && change.at >= since_ && take(change)) found_.push_back(change);
    return found_.size() < options_.limit;
  }));
  std::reverse(found_.begin(), found_.end());
  return ok();
}

Status Log::changes() {
  LINKSPAN_CHECK(collect("", [this](const Change& change) {
    return is_below(change.path, place_.inside) ||
           (!change.old_path.empty() && is_below(change.old_path, place_.inside));
  }));
  for (const auto& change : found_) {
    if (options_.json) {
      std::cout << dump_line(to_json(change));
      continue;
    }
    std::string rest = printable(change.volume + "/" + change.path);
    if (!change.old_path.empty()) rest += "  from " + printable(change.old_path);
    if (change.version) rest += sized(change.version, change.size);
    print_line(change.at, who(change.principal, change.sandbox), change.what, rest);
  }
  return ok();
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
  LINKSPAN_CHECK(collect("unlink", [this](const Change& change) {
    return change.what == "unlink" && is_below(change.path, place_.inside);
  }));
  std::set<std::string> later;  // paths of younger deletions
  std::vector<bool> newest;
  for (auto change = found_.rbegin(); change != found_.rend(); ++change)
    newest.push_back(later.insert(change->volume + "/" + change->path).second);
  for (size_t i = 0; i < found_.size(); ++i) {
    LINKSPAN_TRY(const bool is_kept, kept(found_[i]));
    print_deleted(found_[i], newest[found_.size() - 1 - i], is_kept);
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
  auto place = locate(options.path);
  if (!place.ok()) return complain(place.error());
  struct stat st;
  const bool file = ::stat(place->file.c_str(), &st) == 0 && S_ISREG(st.st_mode);
  const bool on_route = !place->route.path.empty();
  Log log(options, std::move(*place), since);
  const Status done = options.deleted    ? log.deleted()
                      : file && on_route ? log.versions(Ino{st.st_ino})
                                         : log.changes();
  std::cout << std::flush;
  if (!done.ok()) return complain(done.error());
  return kSuccess;
}

}  // namespace linkspan::cli
