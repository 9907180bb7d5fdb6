#include "fusefs/cli/notify.h"

#include <unistd.h>

#if LINKSPAN_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

namespace linkspan::cli {

#if LINKSPAN_HAVE_SYSTEMD
void notify_ready(const std::string& dir) {
  // MAINPID: in the background form the unit's first process has ended by now.
  const std::string state =
      "READY=1\nMAINPID=" + std::to_string(::getpid()) + "\nSTATUS=serving " + dir;
  ::sd_notify(0, state.c_str());
}
void notify_stopping() {
  ::sd_notify(0, "STOPPING=1");
}
#else
void notify_ready(const std::string&) {}
void notify_stopping() {}
#endif

}  // namespace linkspan::cli
