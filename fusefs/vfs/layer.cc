#include "fusefs/vfs/layer.h"

#include <algorithm>

namespace linkspan::vfs {

Layer::Part* Layer::part_of(const Party& party) {
  const auto found = std::find_if(parts.begin(), parts.end(), [&](const Part& p) {
    return p.party.process == party.process && p.party.handle == party.handle;
  });
  if (found != parts.end()) return &*found;
  if (parts.size() >= kParties) return nullptr;
  return &parts.emplace_back(Part{party});
}

Layer::Part* Layer::editor(const Editor& by) {
  mtime = by.now;
  keep_mtime = false;
  if (by.party.process) ++edits;  // else through a mapping, by whoever
  Part* part = part_of(by.party);
  if (part && !part->wrote && !part->truncated) part->blind = !by.base().read;
  return part;
}

void Layer::touch(const Editor& by) {
  if (Part* part = editor(by)) part->wrote = true;
}

void Layer::touch_truncated(const Editor& by) {
  Part* part = editor(by);
  for (Part& each : parts) each.wrote = false;
  if (part) part->truncated = true;
}

void Layer::read_by(const Process& process, bool half) {
  if (Part* part = part_of(Party{process})) {
    part->read = true;
    part->seen = half ? kNever : edits;
  }
}

bool Layer::has_part(const Party& party) const {
  return std::any_of(parts.begin(), parts.end(), [&](const Part& p) {
    return (p.wrote || p.truncated) && p.party.same(party);
  });
}

bool Layer::others_have(const Party& than) const {
  return std::any_of(parts.begin(), parts.end(), [&](const Part& p) {
    return (p.wrote || p.truncated) && !p.party.same(than);
  });
}

bool Layer::known_writers() const {
  return std::all_of(parts.begin(), parts.end(),
                     [](const Part& p) { return p.party.process || !(p.wrote || p.truncated); });
}

bool Layer::has_known_writer(const std::optional<Process>& but) const {
  if (but && !*but) return false;
  return std::any_of(parts.begin(), parts.end(), [&](const Part& p) {
    return (p.wrote || p.truncated) && p.party.process && p.party.process != but;
  });
}

bool Layer::rests_on(const Layer& beneath) const {
  return std::all_of(parts.begin(), parts.end(), [&](const Part& p) {
    return !(p.wrote || p.truncated) || p.blind || beneath.knows(p.party.process);
  });
}

bool Layer::rests_on_half(const Layer& beneath, bool blended) const {
  return std::any_of(parts.begin(), parts.end(), [&](const Part& p) {
    const Process& process = p.party.process;
    return (p.wrote || p.truncated) &&
           (beneath.read_half(process) || (blended && beneath.read_anothers(process)));
  });
}

bool Layer::others_wrote(const Party& than) const {
  return std::any_of(parts.begin(), parts.end(),
                     [&](const Part& p) { return p.wrote && !p.party.same(than); });
}

bool Layer::has_read(const Process& process) const {
  return process && std::any_of(parts.begin(), parts.end(), [&](const Part& p) {
           return p.party.process == process && p.read;
         });
}

std::vector<Process> Layer::other_readers() const {
  std::vector<Process> found;
  for (const Part& part : parts)
    if (part.read && part.party.process && !has_part(Party{part.party.process}))
      found.push_back(part.party.process);
  return found;
}

bool Layer::known_to(const Part& part) const {
  return part.wrote || (part.read && part.seen == edits) ||
         (part.truncated && !others_wrote(part.party));
}

bool Layer::knows(const Process& process) const {
  return std::any_of(parts.begin(), parts.end(), [&](const Part& p) {
    const bool its = p.party.process == process || (!p.party.process && p.wrote);
    return its && known_to(p);
  });
}

bool Layer::knows(const Party& party) const {
  return std::any_of(parts.begin(), parts.end(),
                     [&](const Part& p) { return p.party.same(party) && known_to(p); });
}

}  // namespace linkspan::vfs
