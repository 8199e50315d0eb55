//! Scores → Standard MIDI Files.

use midly::num::{u4, u7, u15, u24, u28};
use midly::{Format, Header, MetaMessage, MidiMessage, Smf, Timing, TrackEvent, TrackEventKind};

use crate::corpus::score::{BEATS_PER_MINUTE, NoteKind, Score};

/// The velocity of every note of a written file, of 127.
const VELOCITY: u8 = 80;

/// The longest time that one event can wait, in ticks.
const LONGEST_WAIT: u64 = (1 << 28) - 1;

/// Writes a score as a format 1 file at 120 beats a minute: the same score, the same bytes. [`super::read`] gives the same score back.
///
/// Each track has a channel of its own, the drum channel left out, as long as there are enough. The tempo stands in the first
/// track, whose end is the end of the score.
pub fn write(score: &Score) -> Vec<u8> {
    let microseconds_per_beat = (60e6 / BEATS_PER_MINUTE).round() as u32;
    let header = Header::new(
        Format::Parallel,
        Timing::Metrical(u15::new(score.ticks_per_beat.clamp(1, 0x7FFF))),
    );
    let mut file = Smf::new(header);
    let no_track = [Vec::new()];
    let tracks = if score.tracks.is_empty() {
        &no_track[..]
    } else {
        &score.tracks[..]
    };
    for (number, messages) in tracks.iter().enumerate() {
        let mut events = Vec::with_capacity(messages.len() + 2);
        if number == 0 {
            wait_and(
                &mut events,
                0,
                TrackEventKind::Meta(MetaMessage::Tempo(u24::new(microseconds_per_beat))),
            );
        }
        let mut now = 0;
        for message in messages {
            let key = u7::new(message.pitch & 127);
            let sound = match message.kind {
                NoteKind::On => MidiMessage::NoteOn {
                    key,
                    vel: u7::new(VELOCITY),
                },
                NoteKind::Off => MidiMessage::NoteOff {
                    key,
                    vel: u7::new(0),
                },
            };
            wait_and(
                &mut events,
                message.delta.into(),
                TrackEventKind::Midi {
                    channel: channel(number),
                    message: sound,
                },
            );
            now += u64::from(message.delta);
        }
        let rest = if number == 0 {
            score.duration.saturating_sub(now).min(u32::MAX.into())
        } else {
            0
        };
        wait_and(
            &mut events,
            rest,
            TrackEventKind::Meta(MetaMessage::EndOfTrack),
        );
        file.tracks.push(events);
    }
    let mut bytes = Vec::new();
    file.write(&mut bytes)
        .expect("a Vec takes everything, and a score has no track of 4 GiB");
    bytes
}

/// Adds an event after a delta time. One that is too long for a single event is spread over several.
fn wait_and<'a>(events: &mut Vec<TrackEvent<'a>>, mut ticks: u64, kind: TrackEventKind<'a>) {
    while ticks > LONGEST_WAIT {
        events.push(TrackEvent {
            delta: u28::new(LONGEST_WAIT as u32),
            kind: TrackEventKind::Meta(MetaMessage::Text(b"")),
        });
        ticks -= LONGEST_WAIT;
    }
    events.push(TrackEvent {
        delta: u28::new(ticks as u32),
        kind,
    });
}

/// A track's channel: 0 to 15 without 9, which is the drums', over and over.
fn channel(track: usize) -> u4 {
    let channel = (track % 15) as u8;
    u4::new(if channel < 9 { channel } else { channel + 1 })
}
