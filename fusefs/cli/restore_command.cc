// linkspan restore: a version, a deleted file, or what a conflict refused.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/conflict_choice.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/deleted_file.h"
#include "fusefs/cli/history_words.h"
#include "fusefs/cli/mount_report.h"
#include "fusefs/cli/past_version.h"
#include "fusefs/cli/rewrite.h"
#include "fusefs/cli/router_watch.h"
#include "fusefs/cli/system.h"

namespace linkspan::cli {

namespace {

std::string at(const std::string& to, const std::string& otherwise) {
  return to.empty() ? otherwise : absolute_path(to);
}

Status restore_version(const RestoreOptions& options, const PastVersion& past) {
  struct stat st;
  const bool stands = ::stat(past.place.file.c_str(), &st) == 0;
  Rewrite what;
  what.path = at(options.to, past.place.file);
  what.mode = stands ? st.st_mode & 07777 : 0644;
  what.must_be_new = !options.to.empty();
  what.origin = {options.to.empty() ? Origin::Kind::version : Origin::Kind::copy,
                 past.version.value};
  what.fill = [&](const Sink& sink) { return past.content(sink); };
  LINKSPAN_CHECK(rewrite(what));
  say(printable(what.path) + " has the content of " + printable(past.name()) +
      (options.to.empty() ? " again, as a new version" : ""));
  return ok();
}

// A file that was deleted comes back as a new one.
Status restore_deleted(const RestoreOptions& options, const PastVersion& past) {
  const Change& deletion = *past.deletion;
  const std::string path = at(options.to, past.place.file);
  struct stat st;
  if (::lstat(path.c_str(), &st) == 0)
    return fail(Code::exists, path + " is there now; give the deleted one another place with --to");
  QueryClient client(past.place.mount);
  const auto node = client.node(past.place.route.path, deletion.ino);
  if (!node.ok()) return is_gone(node.error()) ? not_kept(past.place, deletion) : node.error();
  const bool last = past.version == (past.after ? past.after->version : deletion.version);
  const Origin origin{Origin::Kind::deletion, deletion.seq.value, last ? 0 : past.version.value};
  if (node->kind == "symlink") {
    LINKSPAN_CHECK(make_link(node->target, path, origin));
  } else if (node->kind == "file") {
    Rewrite what;
    what.path = path;
    what.mode = node->mode;
    what.must_be_new = true;
    what.origin = origin;
    what.fill = [&](const Sink& sink) {
      const Status then = past.content(sink);
      // It may have another name, under which it was changed since.
      if (then.ok() || then.code() != Code::not_found || !last || node->version == past.version)
        return then;
      say("what it was when it was deleted is not kept any more; this is what it became since");
      return client.content(past.place.route.path, deletion.ino, node->version, sink);
    };
    LINKSPAN_CHECK(rewrite(what));
  } else {
    return fail(Code::unsupported, past.place.file + " was no file: " + node->kind);
  }
  const std::string version = last ? "" : " (version " + std::to_string(past.version.value) + ")";
  say("restored " + printable(path) + version + ", which " + printable(deletion.principal) + "@" +
      printable(deletion.sandbox) + " deleted at " + format_time(deletion.at));
  if (last && past.after)
    say("it is what " + printable(past.after->principal) + "@" + printable(past.after->sandbox) +
        " wrote after that, at " + format_time(past.after->at) + "; what was deleted is version " +
        std::to_string(deletion.version.value));
  return ok();
}

// The last file of each name that was deleted below a directory since then.
Result<std::map<std::string, uint64_t>> deleted_below(const Place& dir, Time since) {
  std::map<std::string, uint64_t> changes;  // by path within the volume
  LogQuery query;
  query.route = dir.route.path;
  query.below = dir.inside;
  query.what = "unlink";
  query.since = since;
  QueryClient client(dir.mount);
  LINKSPAN_CHECK(client.changes(query, [&](const Change& change) {
    if (change.what == "unlink" && change.at >= since && is_below(change.path, dir.inside))
      changes.emplace(change.path, change.seq.value);
    return true;
  }));
  if (changes.empty())
    return fail(Code::not_found, "nothing was deleted in " + dir.file + " since " +
                                     format_time(since) + "; what was before: linkspan log " +
                                     "--deleted " + shell_word(dir.file));
  return changes;
}

// As many as can be had; the first error of the others, each of which is said.
Status restore_below(const RestoreOptions& options, RouterWatch* watch) {
  LINKSPAN_TRY(const Time since, parse_since(options.since, Clock::system().now()));
  LINKSPAN_TRY(const Place dir, locate(options.path));
  LINKSPAN_TRY(const auto changes, deleted_below(dir, since));
  watch->stop();
  size_t back = 0, there = 0;
  Status first = ok();
  for (const auto& [path, change] : changes) {
    const std::string rest = path == dir.inside   ? ""
                             : dir.inside.empty() ? "/" + path
                                                  : path.substr(dir.inside.size());
    RestoreOptions one;
    one.path = dir.file + rest;
    if (!options.to.empty()) one.to = absolute_path(options.to) + rest;
    struct stat st;
    if (::lstat((one.to.empty() ? one.path : one.to).c_str(), &st) == 0) {
      ++there;
      continue;
    }
    const auto past = find_past_version(one.path, 0, {true, change});
    const Status done = past.ok() ? restore_deleted(one, *past) : Status(past.error());
    back += done.ok();
    if (done.ok()) continue;
    if (first.ok())
      first = done;
    else
      complain(done.error());
  }
  say(std::to_string(back) + " of " + std::to_string(changes.size()) + " deleted files are back" +
      (there ? "; where " + std::to_string(there) + " of them were, something is now" : ""));
  return first;
}

// From where a file is written on, `watch` does not end the process: the mount bounds each call.
Status restore_past(const RestoreOptions& options, RouterWatch* watch) {
  if (!options.since.empty()) return restore_below(options, watch);
  LINKSPAN_TRY(const auto past, find_past_version(options.path, options.version, options.which));
  watch->stop();
  return past.deletion ? restore_deleted(options, past) : restore_version(options, past);
}

Status restore_conflict(const RestoreOptions& options, RouterWatch* watch) {
  LINKSPAN_TRY(const auto found, find_conflict(options.mount, options.conflict));
  const std::string number = std::to_string(found.conflict.number.value);
  watch->stop();
  if (!options.to.empty()) {
    const std::string path = absolute_path(options.to);
    Rewrite what = theirs(found);
    what.path = path;
    what.must_be_new = true;
    LINKSPAN_CHECK(rewrite(what));
    say("what conflict " + number + " refused is in " + printable(path) +
        "; it stays open until: linkspan resolve " + number + " --ours|--theirs|--merged FILE");
    return ok();
  }
  LINKSPAN_CHECK(save_over(found, Version{}, theirs(found)));
  LINKSPAN_CHECK(settle(found));
  say(printable(found.file) + " has what conflict " + number +
      " refused, as a new version; the conflict is settled");
  return ok();
}

const char* wrong_usage(const RestoreOptions& options) {
  if (!options.conflict.empty() &&
      (options.which.is_deleted() || !options.path.empty() || options.version != 0))
    return "--conflict N stands alone, but for --to and --mount";
  if (options.conflict.empty() && options.path.empty()) return "name PATH@V, or --conflict N";
  if (!options.since.empty() &&
      (!options.which.deleted || options.which.change != 0 || options.version != 0))
    return "--since TIME goes with --deleted, and a directory";
  return nullptr;
}

}  // namespace

int restore_command(const RestoreOptions& options) {
  if (const char* wrong = wrong_usage(options)) {
    complain(std::string(wrong) + "; see: linkspan restore --help");
    return kUsage;
  }
  if (!options.since.empty())
    if (const auto since = parse_since(options.since, Clock::system().now()); !since.ok()) {
      complain(since.error());
      return kUsage;
    }
  if (options.conflict.empty())
    if (const auto named = names_version(options.path, options.version, options.which);
        !named.ok()) {
      complain(named.error());
      return kUsage;
    }
  const bool conflict = !options.conflict.empty();
  RouterWatch watch(conflict ? options.mount : options.path);
  const Status done = conflict ? restore_conflict(options, &watch) : restore_past(options, &watch);
  if (!done.ok()) return complain(watch.explain(done.error()));
  return kSuccess;
}

}  // namespace linkspan::cli
