//! What must be true of every meeting, whatever went wrong.

use crate::recogniser::{Recogniser, Word};
use crate::world::World;
use roomscribe_pipeline::Exit;
use roomscribe_transcript::{Event, Final};

/// Media times of words are this near to the truth, in ms.
const NEAR: i64 = 100;

/// A crash or a break leaves pieces of words; whether a recogniser reads one shorter than this depends on where its
/// windows begin, and the pipeline calls it no speech (`MIN_VOICE`).
const SHORTEST_WORD: i64 = 200;

/// (tone, start ms, end ms)
type Said = (usize, i64, i64);

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Verdict {
    pub(crate) words: usize,
    pub(crate) finals: usize,
    pub(crate) in_gaps: usize,
}

/// The words that reached the worker, where it put them on the media clock.
fn truth(world: &World) -> Vec<Said> {
    let mut words = Vec::new();
    let mut ears: Option<(u64, u64, Recogniser)> = None;
    for (at, pcm) in &world.heard {
        if ears.as_ref().is_none_or(|(_, end, _)| end != at) {
            words.extend(ears.take().map(done).unwrap_or_default());
        }
        let (_, end, ears) = ears.get_or_insert_with(|| (*at, *at, Recogniser::default()));
        ears.push(pcm);
        *end += pcm.len() as u64 / 2;
    }
    words.extend(ears.map(done).unwrap_or_default());
    words
}

fn done((at, _, mut ears): (u64, u64, Recogniser)) -> Vec<Said> {
    ears.finish();
    let ms = |samples: u64| ((at + samples) / 16) as i64;
    ears.words.iter().map(|Word { tone, start, end }| (*tone, ms(*start), ms(*end))).collect()
}

/// The words of a final; without word times, its words stand somewhere inside.
fn said(event: &Final) -> Vec<Said> {
    let tone = |word: &str| word.trim_start_matches('t').parse().unwrap();
    event.words.iter().map(|word| (tone(&word.w), word.start_ms.0 as i64, word.end_ms.0 as i64)).collect()
}

fn is_same(spoken: &Said, said: &Said) -> bool {
    spoken.0 == said.0 && said.1 >= spoken.1 - NEAR && said.2 <= spoken.2 + NEAR
}

/// The gaps; those that touch are one.
fn stretches(world: &World) -> Vec<(i64, i64)> {
    let mut gaps: Vec<_> = world.log.gaps().map(|gap| (gap.start_ms.0 as i64, gap.end_ms.0 as i64)).collect();
    gaps.sort_unstable();
    gaps.dedup_by(|next, last| {
        let touches = next.0 <= last.1;
        if touches {
            last.1 = last.1.max(next.1);
        }
        touches
    });
    gaps
}

pub(crate) fn judge(world: &World) -> Result<Verdict, String> {
    if world.exit != Some(Exit::Done) || !matches!(world.log.events.last(), Some(Event::End(_))) {
        return Err(format!("ended with {:?}", world.exit));
    }
    let truth = truth(world);
    let gaps = stretches(world);
    let mut verdict = Verdict { words: truth.len(), ..Verdict::default() };
    let mut times = vec![Vec::new(); truth.len()];
    let mut misheard = world.service.misheard();
    for event in world.log.finals() {
        if event.words.is_empty() {
            without_words(event, &truth, &mut times)?;
        }
        for word in said(event) {
            let exact = truth.iter().position(|spoken| is_same(spoken, &word));
            // Of a word that was heard with a part of it twice only the time can be right.
            let place = exact.or_else(|| {
                let tone = misheard.iter().position(|tone| *tone == word.0)?;
                let place = truth.iter().position(|spoken| is_same(&(word.0, spoken.1, spoken.2), &word))?;
                misheard.swap_remove(tone);
                Some(place)
            });
            match place {
                Some(place) => times[place].push((word.1, word.2)),
                None => return Err(format!("{word:?} of {} was said by nobody then", event.seg.0)),
            }
        }
    }
    for (spoken, said) in truth.iter().zip(&times) {
        let twice = said
            .iter()
            .enumerate()
            .any(|(index, one)| said[index + 1..].iter().any(|two| one.1.min(two.1) - one.0.max(two.0) > 60));
        if twice {
            return Err(format!("{spoken:?} has two finals: {said:?}"));
        }
        let is_lost = gaps.iter().any(|gap| gap.0 <= spoken.1 + NEAR && spoken.2 - NEAR <= gap.1);
        if !said.is_empty() {
            verdict.finals += 1;
            if is_lost && spoken.2 - spoken.1 >= SHORTEST_WORD {
                return Err(format!("{spoken:?} has a final and is called lost"));
            }
        } else if is_lost {
            verdict.in_gaps += 1;
        } else if spoken.2 - spoken.1 >= SHORTEST_WORD {
            return Err(format!("{spoken:?} has neither final nor gap"));
        }
    }
    Ok(verdict)
}

/// Its words, in order, are those that were said in its stretch.
fn without_words(event: &Final, truth: &[Said], times: &mut [Vec<(i64, i64)>]) -> Result<(), String> {
    let (start, end) = (event.start_ms.0 as i64 - NEAR, event.end_ms.0 as i64 + NEAR);
    for word in event.text.split_whitespace() {
        let tone: usize = word.trim_start_matches('t').parse().unwrap();
        let is_it = |(index, spoken): &(usize, &Said)| {
            let before = times[*index].iter().all(|said: &(i64, i64)| said.1 <= start + NEAR + 60);
            spoken.0 == tone && spoken.1 <= end - 2 * NEAR && spoken.2 >= start + 2 * NEAR && before
        };
        match truth.iter().enumerate().find(is_it).map(|(index, _)| index) {
            Some(index) => {
                times[index].push((truth[index].1.max(start + NEAR), truth[index].2.min(end - NEAR)))
            }
            None => return Err(format!("{word} of {} ({start}–{end}) was said by nobody then", event.seg.0)),
        }
    }
    Ok(())
}
