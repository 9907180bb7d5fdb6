// linkspan log: a file's versions, a tree's changes, what was deleted.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <iostream>
#include <optional>
#include <set>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/deleted_file.h"
#include "fusefs/cli/file_history.h"
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

  // Of the file that is there.
  Status versions(Ino ino);
  // Of the one that was deleted last under this name, or by the change that is asked for; where
  // none was a file, or nothing is kept of it: changes().
  Status versions_of_deleted();
  Status changes();
  Status deleted();
  // What is to be said beside it. `not_found`: PATH never was.
  Status close();

 private:
  // Asks for the newest; `take` says whether one counts.
  Status collect(const std::string& what, const std::function<bool(const Change&)>& take);
  bool is_asked_for(Time at, const std::string& principal, const std::string& sandbox) const;
  bool is_about(const Change& change) const;
  Status read(FileHistory* history);
  Status read_renames(FileHistory* history);
  Status print_file(FileHistory history);
  void print_version(const HistoryLine& line);
  void print_change(const Change& change);
  void print_json(Json json);
  const MountRoute* route_of(const Change& change) const;
  std::string path_of(const Change& change) const;
  Result<bool> kept(const Change& change);
  Result<bool> restored(const Change& change);
  struct Deleted {
    bool newest = false;               // under this name: which `restore --deleted` takes by itself
    bool kept = true;                  // its content
    bool back = false;                 // by a restore, since then
    std::optional<VersionInfo> after;  // what was written to it since then
  };
  Result<std::optional<VersionInfo>> after(const Change& change);
  void print_deleted(const Change& change, const Deleted& is);
  Status tell_others(const FileHistory& shown);
  Status known();
  void say_nothing() const;

  const LogCommandOptions& options_;
  const Place place_;
  const Time since_;
  QueryClient client_;
  std::vector<Change> found_;  // ascending
  bool nothing_ = true;        // was found
  bool none_asked_for_ = false;
  bool more_ = false;  // is older than what is shown
  bool told_more_ = false;
};

// "restore" and where from, if `old_path` says so; else the old path.
std::pair<std::string, std::string> rename_words(const std::string& old_path) {
  if (const auto origin = origin_of(old_path))
    return {"restore", "  from " + origin_words(*origin)};
  return {"rename", old_path.empty() ? std::string() : "  from " + printable(old_path)};
}

void Log::print_json(Json json) {
  if (more_ && !told_more_) json["more"] = told_more_ = true;
  std::cout << dump_line(json);
}

void Log::print_version(const HistoryLine& line) {
  const VersionInfo& info = *line.version;
  const auto old_path =
      info.what == "rename" || origin_of(line.renamed_from) ? line.renamed_from : std::string();
  if (options_.json) {
    Json json = to_json(info);
    set_bytes(json, "volume", place_.route.volume);
    set_bytes(json, "path", place_.inside);
    if (!old_path.empty()) set_bytes(json, "old_path", old_path);
    if (const auto origin = origin_of(old_path)) json["restored_from"] = origin_words(*origin);
    if (line.after_deletion) json["after_deletion"] = true;
    print_json(std::move(json));
    return;
  }
  const auto [what, from] = info.what == "rename" || !old_path.empty()
                                ? rename_words(old_path)
                                : std::pair(info.what, std::string());
  print_line(info.at, who(info.principal, info.sandbox), what,
             printable(place_.route.volume + "/" + place_.inside) + sized(info.version, info.size) +
                 from + (line.after_deletion ? "  written after it was deleted" : "") + "  " +
                 coloured(1, Colour::dim, "session " + session_text(info.session)));
}

void Log::print_change(const Change& change) {
  if (options_.json) {
    Json json = to_json(change);
    if (const auto origin = origin_of(change.old_path))
      json["restored_from"] = origin_words(*origin);
    print_json(std::move(json));
    return;
  }
  const auto [what, from] = change.what == "rename" ? rename_words(change.old_path)
                                                    : std::pair(change.what, std::string());
  std::string rest = printable(change.volume + "/" + change.path);
  if (change.version) rest += sized(change.version, change.size);
  print_line(change.at, who(change.principal, change.sandbox), what, rest + from);
}

// As the log prints them, too: NAME@SANDBOX. (A principal's name may have an @ of its own.)
bool Log::is_asked_for(Time at, const std::string& principal, const std::string& sandbox) const {
  const std::string& author = options_.author;
  return at >= since_ &&
         (author.empty() || author == principal || author == principal + "@" + sandbox);
}

// As many of the newest versions as may be shown, and one more if there are more.
Status Log::read(FileHistory* history) {
  size_t counted = 0;
  history->whole = true;
  LINKSPAN_CHECK(client_.versions(place_.route.path, history->ino, [&](const VersionInfo& info) {
    history->versions.push_back(info);
    counted += is_asked_for(info.at, info.principal, info.sandbox);
    return history->whole = info.at >= since_ && counted <= options_.limit;
  }));
  return read_renames(history);
}

// The list of versions does not say what a file was renamed from, or that it was restored or moved:
// the log does.
Status Log::read_renames(FileHistory* history) {
  constexpr size_t kMostNodes = 200;  // asked about, the newest
  std::set<uint64_t> asked;
  LogQuery query;
  query.route = place_.route.path;
  query.what = "rename";
  const auto ask = [&](Ino ino) -> Status {
    if (asked.size() == kMostNodes || !asked.insert(ino.value).second) return ok();
    query.ino = ino;
    return client_.changes(query, [&](const Change& change) {
      if (change.ino == ino && change.what == "rename") history->renames.push_back(change);
      return true;
    });
  };
  LINKSPAN_CHECK(ask(history->ino));
  for (const auto& info : history->versions) LINKSPAN_CHECK(ask(info.ino));
  return ok();
}

Status Log::print_file(FileHistory history) {
  auto lines = lines_of(history);
  std::erase_if(lines, [&](const auto& line) {
    return !is_asked_for(line.at(), line.principal(), line.sandbox());
  });
  nothing_ = false;
  none_asked_for_ = lines.empty();
  more_ = lines.size() > options_.limit;
  if (more_) lines.erase(lines.begin(), lines.end() - options_.limit);
  for (const auto& line : lines) {
    if (line.version)
      print_version(line);
    else if (line.change->what != "unlink")
      print_change(*line.change);
    else
      print_deleted(*line.change, {options_.change == 0, true, false, {}});
  }
  return tell_others(history);
}

Status Log::versions(Ino ino) {
  FileHistory history;
  history.path = place_.inside;
  history.ino = ino;
  LINKSPAN_CHECK(read(&history));
  return print_file(std::move(history));
}

Status Log::versions_of_deleted() {
  auto deletion = find_deletion(place_, options_.change, &client_);
  if (!deletion.ok() && (options_.change != 0 || deletion.code() != Code::not_found))
    return deletion.error();
  if (!deletion.ok()) return changes();
  FileHistory history;
  history.path = place_.inside;
  history.ino = deletion->ino;
  history.deletion = *deletion;
  const Status there = read(&history);
  if (there.ok()) {
    LINKSPAN_TRY(const auto late, written_since(place_.route.path, *deletion, &client_));
    history.written_since = late.has_value();
  }
  if (there.ok()) return print_file(std::move(history));
  if (options_.change == 0 && (is_gone(there.error()) || there.code() == Code::invalid))
    return changes();
  return is_gone(there.error()) ? not_kept(place_, *deletion) : there.error();
}

// Other files that had this name, as far as is quickly found out.
Status Log::tell_others(const FileHistory& shown) {
  constexpr size_t kMostAsked = 4;
  if (options_.json || options_.change != 0) return ok();
  const auto is_shown = [&](const Change& change) {
    if (change.ino == shown.ino) return true;
    return std::any_of(shown.versions.begin(), shown.versions.end(),
                       [&](const auto& info) { return info.ino == change.ino; });
  };
  std::vector<Change> others;  // newest first
  LINKSPAN_CHECK(deletions_of(place_, &client_, kMostAsked, [&](const Change& change) {
    if (!is_shown(change)) others.push_back(change);
    return true;
  }));
  std::optional<Change> moved;
  const LogQuery query{place_.route.path, place_.inside, "", "rename", {}, {}, kMostAsked};
  LINKSPAN_CHECK(client_.changes(query, [&](const Change& change) {
    if (change.old_path == place_.inside && !is_shown(change)) moved = change;
    return !moved;
  }));
  const std::string name = base_name(place_.file);
  if (others.size() == 1)
    say("another file " + printable(name) + " was deleted at " + format_time(others[0].at) + ": " +
        printable(log_words(place_, others[0])));
  if (others.size() > 1)
    say(std::to_string(others.size()) + " other files " + printable(name) +
        " were deleted: linkspan log --deleted " + printable(shell_word(place_.file)));
  if (moved)
    say("another file " + printable(name) + " was moved at " + format_time(moved->at) +
        ": linkspan log " + printable(shell_word(path_of(*moved))));
  return ok();
}

Status Log::collect(const std::string& what, const std::function<bool(const Change&)>& take) {
  const bool plain = options_.author.find('@') == std::string::npos;  // the router looks for it
  const LogQuery query{
      place_.route.path, place_.inside, plain ? options_.author : "", what, since_, {}, SIZE_MAX};
  LINKSPAN_CHECK(client_.changes(query, [&](const Change& change) {
    if (!is_asked_for(change.at, change.principal, change.sandbox) || !take(change)) return true;
    more_ = found_.size() == options_.limit;
    if (!more_) found_.push_back(change);
    return !more_;
  }));
  std::reverse(found_.begin(), found_.end());
  none_asked_for_ = nothing_ = found_.empty();
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
  for (const auto& change : found_) print_change(change);
  return ok();
}

Status Log::known() {
  struct stat st;
  if (!nothing_ || ::lstat(place_.file.c_str(), &st) == 0) return ok();
  bool ever = false;
  LINKSPAN_CHECK(client_.changes({place_.route.path, place_.inside, "", "", {}, {}, SIZE_MAX},
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
  if (is_gone(asked.error())) return false;
  if (asked.code() == Code::invalid || asked.code() == Code::is_directory) return true;  // no file
  return asked.error();
}

Result<std::optional<VersionInfo>> Log::after(const Change& change) {
  const auto* route = route_of(change);
  if (!route) return std::optional<VersionInfo>();
  return written_since(route->path, change, &client_);
}

// Back under its name by `restore --deleted`, since then, with all that was written to it.
Result<bool> Log::restored(const Change& change) {
  const auto* route = route_of(change);
  if (!route) return false;
  const Origin origin{Origin::Kind::deletion, change.seq.value};
  std::optional<Time> found;
  LINKSPAN_CHECK(client_.changes(
      {route->path, change.path, "", "rename", change.at, {}, SIZE_MAX}, [&](const Change& later) {
        if (later.path == change.path && origin_of(later.old_path) == origin) found = later.at;
        return !found && later.seq > change.seq;
      }));
  if (!found) return false;
  LINKSPAN_TRY(const auto late, after(change));
  return !late || late->at < *found;
}

void Log::print_deleted(const Change& change, const Deleted& is) {
  const std::string path = path_of(change);
  struct stat st;
  const bool taken = ::lstat(path.c_str(), &st) == 0;
  const std::string number = std::to_string(change.seq.value);
  std::string mend = "linkspan restore --deleted ";
  if (!is.newest) mend += "--change " + number + " ";
  mend += shell_word(path);
  if (taken) mend += " --to " + shell_word(path + ".restored");
  if (options_.json) {
    Json json = to_json(change);
    json["kept"] = is.kept;
    json["restore"] = is.kept ? Json(mend) : Json();
    if (is.back) json["restored"] = true;
    if (is.after) json["written_since"] = to_json(*is.after);
    print_json(std::move(json));
    return;
  }
  print_line(change.at, who(change.principal, change.sandbox), "deleted",
             printable(path) + "  " + std::to_string(change.size) + " bytes  change " + number +
                 (is.back ? "  restored since" : ""));
  if (!is.kept) {
    std::cout << "    its content is not kept any more (the volume's retention)\n";
    return;
  }
  if (is.after)
    std::cout << "    written after that, and restored with it: " << format_time(is.after->at)
              << "  " << who(is.after->principal, is.after->sandbox)
              << sized(is.after->version, is.after->size) << "\n";
  std::cout << "    " << printable(mend) << "\n";
  if (options_.deleted && change.path == place_.inside)
    std::cout << "    " << printable(log_words(place_, change)) << "\n";
}

Status Log::deleted() {
  std::set<std::string> seen;  // paths of younger deletions
  std::set<Seq> newest;        // which `restore --deleted` takes by itself
  std::set<Seq> back;
  Status failed = ok();
  LINKSPAN_CHECK(collect("unlink", [&](const Change& change) {
    if (change.what != "unlink" || !is_below(change.path, place_.inside)) return false;
    // Those of other authors are not seen.
    if (seen.insert(change.volume + "/" + change.path).second && options_.author.empty())
      newest.insert(change.seq);
    const auto is_back = restored(change);
    if (!is_back.ok()) failed = is_back.error();
    if (!is_back.ok() || !*is_back) return is_back.ok();
    back.insert(change.seq);  // whoever asks for this very name may want its versions
    return change.path == place_.inside;
  }));
  LINKSPAN_CHECK(failed);
  for (const auto& change : found_) {
    Deleted is{newest.count(change.seq) != 0, true, back.count(change.seq) != 0, {}};
    LINKSPAN_TRY(is.kept, kept(change));
    if (is.kept) {
      LINKSPAN_TRY(is.after, after(change));
    }
    print_deleted(change, is);
  }
  return ok();
}

void Log::say_nothing() const {
  std::string of;
  if (!options_.author.empty()) of += " by " + printable(options_.author);
  if (since_.ns != 0) of += " since " + format_time(since_);
  say("no " + std::string(options_.deleted ? "deletion" : "change") + " of " +
      printable(place_.file) + of);
}

Status Log::close() {
  std::cout << std::flush;
  if (more_ && !options_.json)
    say("these are the newest " + std::to_string(options_.limit) + "; there are more: -n " +
        std::to_string(options_.limit * 10) + " shows more of them");
  LINKSPAN_CHECK(known());
  if (none_asked_for_ && !options_.json) say_nothing();
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
  const bool there = ::stat(place->file.c_str(), &st) == 0;
  const bool file = there && S_ISREG(st.st_mode) && !place->route.path.empty();
  const bool gone = !there && errno == ENOENT && !place->inside.empty();
  Log log(options, std::move(*place), since);
  Status done = options.change != 0 ? log.versions_of_deleted()
                : options.deleted   ? log.deleted()
                : gone              ? log.versions_of_deleted()
                : file              ? log.versions(Ino{st.st_ino})
                                    : log.changes();
  if (done.ok()) done = log.close();
  std::cout << std::flush;
  if (!done.ok()) return complain(watch.explain(done.error()));
  return kSuccess;
}

}  // namespace linkspan::cli
