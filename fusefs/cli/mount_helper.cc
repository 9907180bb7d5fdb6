// mount.linkspan: `mount -t linkspan ROUTER DIR -o OPTIONS`, and so /etc/fstab.
#include <algorithm>
#include <cstdio>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/system.h"

namespace linkspan::cli {

namespace {

constexpr const char* kHelperUsage =
    "usage: mount -t linkspan ROUTER DIR [-o token_file=FILE,workspace=DIR,owner=squash|identity,"
    "expose=PREFIX,spool_dir=DIR,log_file=FILE,log_level=LEVEL,state_dir=DIR,router_ca=FILE,"
    "router_cert=FILE,router_key=FILE,allow_plaintext_tcp,nonempty,local,ro]";

bool is_generic(const std::string& option) {
  static const char* const kGeneric[] = {
      "rw",     "defaults", "_netdev", "nofail", "user",  "users", "nouser", "owner",    "auto",
      "noauto", "suid",     "nosuid",  "dev",    "nodev", "exec",  "async",  "relatime", "noatime"};
  return option.rfind("x-", 0) == 0 || option.rfind("comment=", 0) == 0 ||
         option.rfind("uhelper=", 0) == 0 ||
         std::find(std::begin(kGeneric), std::end(kGeneric), option) != std::end(kGeneric);
}

// False: not an option of ours.
bool apply(const std::string& name, const std::string& value, MountOptions& mount) {
  if (name == "token_file")
    mount.router.token.file = value;
  else if (name == "workspace")
    mount.workspace = value;
  else if (name == "owner" && (value == "squash" || value == "identity"))
    mount.owner = value;
  else if (name == "expose")
    mount.expose = value;
  else if (name == "spool_dir")
    mount.spool_dir = value;
  else if (name == "log_file")
    mount.log.file = value;
  else if (name == "log_level")
    mount.log.level = value;
  else if (name == "state_dir")
    mount.router.state_dir = value;
  else if (name == "router_ca")
    mount.router.tls.authorities = value;
  else if (name == "router_cert")
    mount.router.tls.certificate = value;
  else if (name == "router_key")
    mount.router.tls.key = value;
  else
    return false;
  return true;
}

// Empty: nothing is wrong with it but that it is unknown.
std::string what_is_wrong(const std::string& name) {
  if (name == "remount")
    return "not possible; umount it (what is open there gets errors), and mount it "
           "again";
  if (name == "owner") return "squash or identity is expected";
  return {};
}

int usage(const std::string& problem) {
  say(problem);
  say(kHelperUsage);
  return kUsage;
}

}  // namespace

int mount_helper(const std::vector<std::string>& arguments) {
  MountOptions mount;
  std::vector<std::string> positional;
  std::string option_text;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "-o") {
      if (++i == arguments.size()) return usage("-o needs a value");
      option_text += (option_text.empty() ? "" : ",") + arguments[i];
    } else if (arguments[i] == "-t" || arguments[i] == "-N") {
      ++i;  // the type; another namespace is mount(8)'s business
    } else if (arguments[i] == "-h" || arguments[i] == "--help") {
      std::printf("%s\n", kHelperUsage);
      return kSuccess;
    } else if (arguments[i].size() > 1 && arguments[i][0] == '-') {
      if (arguments[i].find_first_not_of("sfnv", 1) != std::string::npos)
        return usage("unknown flag " + arguments[i]);
      if (arguments[i].find('f') != std::string::npos) return kSuccess;  // --fake
    } else {
      positional.push_back(arguments[i]);
    }
  }
  if (positional.size() != 2) return usage("ROUTER and DIR are expected");
  mount.router.address = positional[0];
  mount.dir = positional[1];
  bool may_execute = true;
  for (const auto& option :
       option_text.empty() ? std::vector<std::string>() : split(option_text, ',')) {
    const size_t equals = option.find('=');
    const std::string name = option.substr(0, equals);
    if (option == "exec" || option == "noexec")
      may_execute = option == "exec";  // the last one counts
    else if (option == "nonempty")
      mount.non_empty = true;
    else if (option == "ro")
      mount.read_only = true;
    else if (option == "allow_plaintext_tcp")
      mount.router.allow_plaintext_tcp = true;
    else if (option == "local")
      mount.router.local = true;
    else if (equals != std::string::npos && apply(name, option.substr(equals + 1), mount))
      continue;
    else if (const auto wrong = what_is_wrong(name);
             !wrong.empty() && (equals != std::string::npos || !is_generic(option)))
      return usage("option " + option + ": " + wrong);
    else if (!is_generic(option))
      return usage("unknown option " + option);
  }
  if (!may_execute)
    return usage(
        "noexec cannot be kept: skills are programs too; leave it out, or after user and users, "
        "which imply it, add exec");
  if (positional[0] == "local" || positional[0] == "none") mount.router.local = true;
  return mount_command(std::move(mount));
}

}  // namespace linkspan::cli
