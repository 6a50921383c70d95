#include <utility>

#include "titan/config/fields.h"

namespace titan::config {

Attributes operator|(Attributes left, const Attributes& right) {
  if (right.low) left.low = right.low, left.low_is_open = right.low_is_open;
  if (right.high) left.high = right.high, left.high_is_open = right.high_is_open;
  if (right.may_be_infinite) left.may_be_infinite = true;
  if (right.special) left.special = right.special;
  if (!right.choices.empty()) left.choices = right.choices;
  if (right.any_case) left.any_case = true;
  if (!right.working.empty()) left.working = right.working;
  if (right.state != State::kWorking) left.state = right.state;
  if (right.neutral) left.neutral = right.neutral;
  if (!right.part_of.empty()) left.part_of = right.part_of;
  if (!right.open_with.empty()) left.open_with = right.open_with;
  if (right.is_ours) left.is_ours = true;
  return left;
}

Attributes at_least(double low) {
  Attributes attributes;
  attributes.low = low;
  return attributes;
}

Attributes above(double low) {
  Attributes attributes = at_least(low);
  attributes.low_is_open = true;
  return attributes;
}

Attributes within(double low, double high) {
  Attributes attributes = at_least(low);
  attributes.high = high;
  return attributes;
}

Attributes from_up_to(double low, double end) {
  Attributes attributes = within(low, end);
  attributes.high_is_open = true;
  return attributes;
}

Attributes special(double value) {
  Attributes attributes;
  attributes.special = value;
  return attributes;
}

Attributes or_infinite() {
  Attributes attributes;
  attributes.may_be_infinite = true;
  return attributes;
}

Attributes one_of(Choices choices) {
  Attributes attributes;
  attributes.choices = std::move(choices);
  return attributes;
}

Attributes any_case() {
  Attributes attributes;
  attributes.any_case = true;
  return attributes;
}

Attributes accepted() {
  Attributes attributes;
  attributes.state = State::kAccepted;
  return attributes;
}

Attributes not_yet() {
  Attributes attributes;
  attributes.state = State::kNotYet;
  return attributes;
}

Attributes works_with(Choices working) {
  Attributes attributes;
  attributes.working = std::move(working);
  return attributes;
}

Attributes neutral(double value) {
  Attributes attributes;
  attributes.neutral = value;
  return attributes;
}

Attributes part_of(std::string_view key) {
  Attributes attributes;
  attributes.part_of = key;
  return attributes;
}

Attributes open_with(std::string_view key) {
  Attributes attributes;
  attributes.open_with = key;
  return attributes;
}

Attributes ours() {
  Attributes attributes;
  attributes.is_ours = true;
  return attributes;
}

}  // namespace titan::config
