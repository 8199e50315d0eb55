//! Scores → Standard MIDI Files.

use midly::num::{u4, u7, u15, u24, u28};
use midly::{Format, Header, MetaMessage, MidiMessage, Smf, Timing, TrackEvent, TrackEventKind};

use crate::corpus::score::{BEATS_PER_MINUTE, NoteKind, NoteMessage, Score, Ticks};

/// The velocity of every note of a written file, of 127.
const VELOCITY: u8 = 80;

/// The longest time that one event can wait, in ticks.
const LONGEST_WAIT: u64 = (1 << 28) - 1;

/// A file, and the score that is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub bytes: Vec<u8>,
    /// What [`super::read`] reads from the file: the score that was given, with each note started once and ended once.
    pub score: Score,
    /// Notes that had no end. They end with the piece.
    pub closed_at_end: usize,
    /// Notes that ended at the tick at which they started. They are left out, since nobody hears them.
    pub without_duration: usize,
}

/// Writes a score as a format 1 file at 120 beats a minute: the same score, the same bytes. Every note in the file has an end.
///
/// Each track has a channel of its own, the drum channel left out, as long as there are enough. The tempo stands in the first
/// track, whose end is the end of the score.
pub fn write(score: &Score) -> Written {
    let mut written = Written {
        bytes: Vec::new(),
        score: Score {
            ticks_per_beat: score.ticks_per_beat.clamp(1, 0x7FFF),
            tracks: Vec::new(),
            duration: score.duration,
        },
        closed_at_end: 0,
        without_duration: 0,
    };
    for messages in &score.tracks {
        let track = written.closed(messages);
        written.score.tracks.push(track);
    }
    if score.tracks.is_empty() {
        written.score.tracks.push(Vec::new());
    }
    written.bytes = bytes(&written.score);
    written
}

impl Written {
    /// The messages of one track with each note started once and ended once; [`Score::each_note`] says what a note is.
    fn closed(&mut self, messages: &[NoteMessage]) -> Vec<NoteMessage> {
        let mut events: Vec<Option<(u64, NoteKind, u8)>> = Vec::with_capacity(messages.len());
        // Of each pitch that sounds: when it started, and its event.
        let mut started = [None; 128];
        let mut now = 0;
        for message in messages {
            now += u64::from(message.delta);
            let (pitch, on) = (message.pitch & 127, message.kind == NoteKind::On);
            let sounding = &mut started[usize::from(pitch)];
            match *sounding {
                Some((onset, _)) if onset == now && on => continue,
                Some((onset, event)) if onset == now => {
                    events[event] = None;
                    self.without_duration += 1;
                }
                Some(_) => events.push(Some((now, NoteKind::Off, pitch))),
                None => {}
            }
            *sounding = on.then_some((now, events.len()));
            if on {
                events.push(Some((now, NoteKind::On, pitch)));
            }
        }
        let end = self.score.duration.max(now);
        for (pitch, sounding) in (0..).zip(started) {
            match sounding {
                Some((onset, event)) if onset == end => {
                    events[event] = None;
                    self.without_duration += 1;
                }
                Some(_) => {
                    events.push(Some((end, NoteKind::Off, pitch)));
                    self.closed_at_end += 1;
                }
                None => {}
            }
        }
        let mut last = 0;
        let message = |(tick, kind, pitch)| {
            let delta = Ticks::try_from(tick - last).unwrap_or(Ticks::MAX);
            last = tick;
            NoteMessage { delta, kind, pitch }
        };
        events.into_iter().flatten().map(message).collect()
    }
}

/// The file of a score that has a track and whose notes are all closed.
fn bytes(score: &Score) -> Vec<u8> {
    let microseconds_per_beat = (60e6 / BEATS_PER_MINUTE).round() as u32;
    let header = Header::new(
        Format::Parallel,
        Timing::Metrical(u15::new(score.ticks_per_beat)),
    );
    let mut file = Smf::new(header);
    for (number, messages) in score.tracks.iter().enumerate() {
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
