// linkspan restore: a version, a deleted file, or what a conflict refused.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/conflict_choice.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/deleted_file.h"
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

// From where a file is written on, `watch` does not end the process: the mount bounds each call.
Status restore_past(const RestoreOptions& options, RouterWatch* watch) {
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
  return nullptr;
}

}  // namespace

int restore_command(const RestoreOptions& options) {
  if (const char* wrong = wrong_usage(options)) {
    complain(std::string(wrong) + "; see: linkspan restore --help");
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
