// linkspan restore: a version, a deleted file, or what a conflict refused.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/conflict_choice.h"
#include "fusefs/cli/console.h"
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

// From where a file is written on, `watch` does not end the process: the mount bounds each call.
Status restore_version(const RestoreOptions& options, RouterWatch* watch) {
  LINKSPAN_TRY(const auto past, find_past_version(options.path, options.version));
  struct stat st;
  const bool stands = ::stat(past.place.file.c_str(), &st) == 0;
  Rewrite what;
  what.path = at(options.to, past.place.file);
  what.mode = stands ? st.st_mode & 07777 : 0644;
  what.must_be_new = !options.to.empty();
  what.origin = {options.to.empty() ? Origin::Kind::version : Origin::Kind::copy,
                 past.version.value};
  what.fill = [&](int fd) {
    return past.content([&](const std::string& piece) { return write_all(fd, piece); });
  };
  watch->stop();
  LINKSPAN_CHECK(rewrite(what));
  say(printable(what.path) + " has the content of " + printable(past.name()) +
      (options.to.empty() ? " again, as a new version" : ""));
  return ok();
}

// The deletion of that very path: the newest, or the one with the number asked for.
Result<Change> find_deletion(const Place& place, uint64_t number, QueryClient* client) {
  Change found;
  LogQuery query;
  query.route = place.route.path;
  query.below = place.inside;
  query.what = "unlink";
  LINKSPAN_CHECK(client->changes(query, [&](const Change& change) {
    if (change.what != "unlink" || change.path != place.inside) return true;
    if (number != 0 && change.seq.value != number) return true;
    found = change;
    return false;
  }));
  if (found.seq) return found;
  return fail(Code::not_found, "the log knows of no deletion of " + place.file +
                                   (number ? " with the number " + std::to_string(number) : "") +
                                   "; those it knows: linkspan log --deleted " +
                                   shell_word(dir_name(place.file)));
}

Status restore_deleted(const RestoreOptions& options, RouterWatch* watch) {
  LINKSPAN_TRY(const auto place, locate(options.path));
  if (place.inside.empty())
    return fail(Code::is_directory, place.file + " is no file; name the one that was deleted");
  const std::string path = at(options.to, place.file);
  struct stat st;
  if (::lstat(path.c_str(), &st) == 0)
    return fail(Code::exists, path + " is there now; give the deleted one another place with --to");
  QueryClient client(place.mount);
  LINKSPAN_TRY(const Change deletion, find_deletion(place, options.change, &client));
  const auto node = client.node(place.route.path, deletion.ino);
  if (!node.ok() && (node.code() == Code::stale_node || node.code() == Code::not_found))
    return fail(Code::not_found, place.file + " was deleted at " + format_time(deletion.at) +
                                     ", and its content is not kept any more (the volume's "
                                     "retention)");
  if (!node.ok()) return node.error();
  const Origin origin{Origin::Kind::deletion, deletion.seq.value};
  watch->stop();
  if (node->kind == "symlink") {
    LINKSPAN_CHECK(make_link(node->target, path, origin));
  } else if (node->kind == "file") {
    Rewrite what;
    what.path = path;
    what.mode = node->mode;
    what.must_be_new = true;
    what.origin = origin;
    what.fill = [&](int fd) {
      const auto copy = [&](Version version) {
        return client.content(place.route.path, deletion.ino, version,
                              [&](const std::string& piece) { return write_all(fd, piece); });
      };
      // It may have another name, under which it was changed since.
      const Status then = copy(deletion.version);
      if (then.ok() || then.code() != Code::not_found || node->version == deletion.version)
        return then;
      say("what it was when it was deleted is not kept any more; this is what it became since");
      return copy(node->version);
    };
    LINKSPAN_CHECK(rewrite(what));
  } else {
    return fail(Code::unsupported, place.file + " was no file: " + node->kind);
  }
  say("restored " + printable(path) + ", which " + printable(deletion.principal) + "@" +
      printable(deletion.sandbox) + " deleted at " + format_time(deletion.at));
  return ok();
}

Status restore_conflict(const RestoreOptions& options, RouterWatch* watch) {
  LINKSPAN_TRY(const auto found, find_conflict(options.mount, options.conflict));
  const std::string number = std::to_string(found.conflict.number.value);
  watch->stop();
  if (!options.to.empty()) {
    const std::string path = absolute_path(options.to);
    LINKSPAN_CHECK(write_theirs(found, path, true));
    say("what conflict " + number + " refused is in " + printable(path) +
        "; it stays open until: linkspan resolve " + number + " --ours|--theirs|--merged FILE");
    return ok();
  }
  LINKSPAN_CHECK(write_theirs(found, found.file, false));
  LINKSPAN_CHECK(settle(found));
  say(printable(found.file) + " has what conflict " + number +
      " refused, as a new version; the conflict is settled");
  return ok();
}

const char* wrong_usage(const RestoreOptions& options) {
  if (!options.conflict.empty() &&
      (options.deleted || !options.path.empty() || options.version != 0))
    return "--conflict N stands alone, but for --to and --mount";
  if (options.conflict.empty() && options.path.empty()) return "name PATH@V, or --conflict N";
  if (options.change != 0 && !options.deleted) return "--change goes with --deleted";
  if (options.deleted && options.version != 0) return "--deleted brings back the last version";
  return nullptr;
}

}  // namespace

int restore_command(const RestoreOptions& options) {
  if (const char* wrong = wrong_usage(options)) {
    complain(std::string(wrong) + "; see: linkspan restore --help");
    return kUsage;
  }
  if (options.conflict.empty() && !options.deleted)
    if (const auto named = names_version(options.path, options.version); !named.ok()) {
      complain(named.error());
      return kUsage;
    }
  const bool conflict = !options.conflict.empty();
  RouterWatch watch(conflict ? options.mount : options.path);
  const Status done = conflict          ? restore_conflict(options, &watch)
                      : options.deleted ? restore_deleted(options, &watch)
                                        : restore_version(options, &watch);
  if (!done.ok()) return complain(watch.explain(done.error()));
  return kSuccess;
}

}  // namespace linkspan::cli
